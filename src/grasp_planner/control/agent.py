"""The closed loop: observe, encode, plan, act, and start the next plan from what is left of the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from jaxtyping import Bool
from torch import Tensor

from grasp_planner.control.current_plans import InHand, Source
from grasp_planner.control.history import Frame, History
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.frozen import frozen
from grasp_planner.core.objectives import Objective
from grasp_planner.core.plans import Budget, Plan, Status
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import WorldModel, environment_actions, goal_objective, idle_block
from grasp_planner.planners.recommended import plan
from grasp_planner.planning.memory import is_out_of_memory
from grasp_planner.planning.protocol import Planner
from grasp_planner.trust.diagnosis import diagnose
from grasp_planner.trust.law import TrustLaw

Observation = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """What the last call of ``Agent.act`` did, and what was wrong; one entry an environment.

    Attributes:
        source: where the actions came from.
        reason: what was wrong with the observation, the goal or the plan; ``""``: nothing.
        age: model steps since the plan in use was made.
    """

    source: tuple[Source, ...] = ()
    reason: tuple[str, ...] = ()
    age: tuple[int, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong anywhere."""
        return not any(self.reason)


class Agent:
    """Drives one environment, or a batch of them, by replanning in a world model.

    ``act`` is called once a model step, that is every ``model.frameskip`` environment steps, and returns the block of
    environment actions to take until the next call. Every ``execute`` calls it plans anew, starting from the rest of
    the last plan; in between it goes on with the plan it has.

    Once it has planned, it always has an answer. Where a plan is due and cannot be made (no observation, one that is
    not finite or of another shape, no plan of finite cost, no memory), the environment concerned goes on with what is
    left of its last good plan, does nothing when that is at its end, and is planned for again in the next call;
    ``report`` says so. The rest of a plan no longer starts the next one when the goal has changed, when it is at its
    end, and after a plan that failed. An error that is no ``GraspPlannerError`` is not the agent's to hide: it reaches
    the caller, and the next call goes on as if there had been no such call.

    Args:
        model: a :class:`~grasp_planner.core.world_model.WorldModel`.
        planner: one of ``PLANNERS``.
        budget: for each plan.
        execute: k, model steps of a plan that are taken before the next plan; at most ``horizon``.
        trust: where given, a plan is taken no further than it can be believed (but one step): the next one is made at
            its trust horizon, where that comes before ``execute``.
        horizon: model steps to plan ahead.
        objective: ``None``: the distance to the goal, weighted by ``model.goal_weights`` where the model has them. An
            agent that plans anew after every step wants a cost along the way, too (``GoalDistance(stage_weight=0.1)``):
            without one, the goal is always a whole horizon away, and nothing asks it to arrive.
        seed: for the planner's noise; with ``batch``, one integer or one an environment.
        batch: ``None`` for a single environment, whose observations have no batch axis; otherwise the number of
            environments, whose observations have it in front.
        dynamics: how the model is run when planning, such as ``Compiled(model)`` or ``Chunked(model, memory=2**30)``;
            ``None``: as it is.

    Attributes:
        plan: the last :class:`Plan`, for the environments that it was made for; ``None`` before the first.
        report: what the last call of ``act`` did.

    Raises:
        GraspPlannerError: settings that do not fit together; in ``act``, what was wrong, where there was no plan yet.

    Example:
        >>> import gymnasium, grasp_planner.domains
        >>> from grasp_planner import Agent, Budget, GD, load_world_model
        >>> environment = gymnasium.make("grasp_planner/PushT-v1")
        >>> observation, info = environment.reset(seed=0)
        >>> agent = Agent(load_world_model("pusht-state"), GD(), Budget(steps=5), execute=2, horizon=5)
        >>> for action in agent.act(observation, {"state": info["goal"]}):
        ...     observation, *_ = environment.step(action)
        >>> agent.act(None).shape, agent.report.source  # no observation, and none needed yet
        ((5, 2), (<Source.CONTINUED: 1>,))
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        budget: Budget,
        execute: int = 1,
        *,
        horizon: int = 10,
        objective: Objective | None = None,
        seed: int | Sequence[int] = 0,
        batch: int | None = None,
        dynamics: Dynamics | None = None,
        trust: TrustLaw | None = None,
    ) -> None:
        if not 1 <= execute <= horizon:
            raise GraspPlannerError(f"execute must be between 1 and the horizon ({horizon}), got {execute}")
        if batch is not None and batch < 1:
            raise GraspPlannerError(f"batch must be None (one environment) or >= 1, got {batch}")
        self.model, self.planner, self.budget = model, planner, budget
        self.dynamics = dynamics
        self.execute, self.horizon, self.batch, self.trust = execute, horizon, batch, trust
        self.objective = goal_objective(model) if objective is None else objective
        count = batch or 1
        self.seeds = [seed] * count if isinstance(seed, int) else list(seed)
        if len(self.seeds) != count:
            raise GraspPlannerError(f"seed must be one integer or {count} (one an environment), got {len(self.seeds)}")
        self.reset()

    def reset(self) -> None:
        """Forget the history, the goal and the last plan: a new episode begins."""
        count = len(self.seeds)
        self.plan: Plan | None = None
        self.report = Report()
        self._replans = [0] * count
        self._goal: Frame | None = None
        self._wanted: Tensor | None = None  # (b, s), the goal as a latent
        self._history = History(self.model.context, self.model.context + self.horizon)
        self._in_hand = InHand(count, self.horizon, self.model.low)
        self._until = torch.full((count,), self.execute)  # the model step at which each plans anew
        self._expected: Tensor | None = None  # (b, s), where the last blocks are to have led

    def act(self, observation: Observation | None, goal: Observation | None = None, *, late: int = 0) -> numpy.ndarray:
        """The environment actions until the next call: ``(frameskip, e)``, with a batch ``(b, frameskip, e)``.

        Args:
            observation: arrays of one moment, the keys that ``model.encode`` reads; ``None``: there is none this time.
            goal: the same for the goal; ``None``: as before. Where it changes, the old plan is dropped and a new one is
                made at once. One that cannot be encoded is ignored.
            late: model steps since the observation was made. The state now is then predicted from there, with what was
                done since.
        """
        self._history.begin(self._expected)
        try:
            reason = [""] * len(self.seeds)
            if goal is not None:
                self._change_goal(goal, reason)
            seen = self._see(observation, late, reason)
            due = (self._in_hand.taken >= self._until) | ~self._in_hand.alive
            planned = torch.zeros_like(due)
            if due.any() and self._wanted is None:
                _note(reason, due, "there is no goal yet: act(observation, goal)")
            elif due.any() and seen:
                planned = self._replanned(due, late, reason)
            if self._in_hand.states is None:  # there never was a good one
                raise GraspPlannerError(next(filter(None, reason)))
        except BaseException:
            self._history.undo()
            raise
        alive = self._in_hand.alive
        source = torch.where(due, int(Source.FALLBACK), int(Source.CONTINUED))
        source[planned] = int(Source.PLANNED)
        source[~alive] = int(Source.IDLE)
        self.report = Report(tuple(map(Source, source.tolist())), tuple(reason), tuple(self._in_hand.taken.tolist()))
        block, self._expected = self._in_hand.next(idle_block(self.model))
        self._history.end(block)
        actions = environment_actions(self.model, block).numpy(force=True)
        return actions if self.batch is not None else actions[0]

    def _change_goal(self, goal: Observation, reason: list[str]) -> None:
        """Encode a goal that is new; the environments that it is new for have no plan any more."""
        everyone = torch.ones(len(reason), dtype=torch.bool)
        try:
            frame = self._batched(goal, "goal")
            changed = everyone if self._goal is None else _differing(frame, self._goal)
            if not changed.any():
                return
            wanted = self._encoded([frame], "goal")[:, -1]
        except GraspPlannerError as error:
            _note(reason, everyone, str(error))
            return
        usable = torch.isfinite(wanted).all(1).cpu()
        _note(reason, changed & ~usable, "goal encodes to NaN or infinity")
        if self._wanted is None or self._goal is None:
            self._wanted, self._goal = torch.full_like(wanted, torch.nan), frame
        rows = (changed & usable).to(wanted.device)
        self._wanted = torch.where(rows[:, None], wanted, self._wanted)
        self._goal = {
            key: torch.where(rows.to(new.device).reshape(-1, *[1] * (new.ndim - 1)), new, self._goal[key])
            for key, new in frame.items()
        }
        self._in_hand.drop(changed & usable)

    def _see(self, observation: Observation | None, late: int, reason: list[str]) -> bool:
        """Remember what is seen, if it is of use."""
        everyone = torch.ones(len(reason), dtype=torch.bool)
        if observation is None:
            _note(reason, everyone, "there is no observation")
            return False
        try:
            self._history.see(self._batched(observation, "observation"), late)
        except GraspPlannerError as error:
            _note(reason, everyone, str(error))
            return False
        return True

    def _replanned(self, due: Bool[Tensor, " b"], late: int, reason: list[str]) -> Bool[Tensor, " b"]:
        """Plan for the environments that are due and can be planned for; which those were."""
        nobody, idle, h = torch.zeros_like(due), idle_block(self.model).expand(len(due), -1), self.model.context
        assert self._wanted is not None
        try:
            states, seen = self._history.states(lambda frames: self._encoded(frames, "observation"), late)
            _note(reason, due & ~seen.all(1).cpu(), "observation encodes to NaN or infinity, or was missing")
            ready = due.to(seen.device) & seen[:, -1] & torch.isfinite(self._wanted).all(1)
            if not ready.any():
                return nobody
            places = ready.nonzero().flatten()
            problem = Problem(
                self.model if self.dynamics is None else self.dynamics,
                states=states[places],
                past_actions=self._history.blocks(h - 1, late, idle)[places],
                goal=self._wanted[places],
                horizon=self.horizon,
                low=self.model.low,
                high=self.model.high,
                objective=self.objective,
                scale=self.model.scale,
            )
            if late:
                problem = _later(problem, self._history.blocks(late, 0, idle)[places])
            seeds = [self.seeds[i] + self._replans[i] for i in places.tolist()]
            rest = self._in_hand.rest(places)
            found = plan(problem, self.planner, self.budget, seeds=seeds, warm_start=rest)
            trusted = None if self.trust is None else diagnose(problem, found, self.trust).trust
        except GraspPlannerError as error:
            _note(reason, due, str(error))
            return nobody
        good = torch.isfinite(found.cost)
        self.plan, planned = found, nobody.clone()
        planned[places[good].cpu()] = True
        for i in places.tolist():
            self._replans[i] += 1
        failed = nobody.clone()
        failed[places[~good].cpu()] = True
        _note(reason, failed, f"no plan of finite cost was found ({Status.NONFINITE.name})")
        self._in_hand.reusable &= ~failed
        self._in_hand.take(places[good], found.actions[good], found.states[good])
        if trusted is not None:
            until = trusted.clamp(1, self.execute)
            self._until[places[good].cpu()] = until[good].cpu()
        return planned

    def _batched(self, observation: Observation, name: str) -> Frame:
        if not isinstance(observation, Mapping) or not observation:
            raise GraspPlannerError(f"{name} must be a mapping of arrays, got {type(observation).__name__}")
        arrays: Frame = {}
        for key, value in observation.items():
            try:
                arrays[key] = torch.as_tensor(value).clone()  # an environment may write to its own again
            except (TypeError, ValueError, RuntimeError) as error:
                raise GraspPlannerError(f"{name}[{key!r}] must be an array of numbers: {error}") from error
        if self.batch is None:
            return {key: value[None] for key, value in arrays.items()}
        for key, value in arrays.items():
            if value.ndim == 0 or value.shape[0] != self.batch:
                raise GraspPlannerError(
                    f"{name}[{key!r}] must have {self.batch} environments in front, got {tuple(value.shape)}"
                )
        return arrays

    def _encoded(self, moments: list[Frame], name: str) -> Tensor:
        """``(b, h, s)``, not necessarily finite.

        Raises:
            GraspPlannerError: the model gives something else, or has no memory for it.
        """
        stacked = {key: torch.stack([moment[key] for moment in moments], dim=1) for key in moments[-1]}
        try:
            with torch.no_grad():
                latents = self.model.encode(stacked)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise GraspPlannerError(
                f"out of memory while encoding the {name} of {len(self.seeds)} environments: drive fewer at a time"
            ) from error
        scale = self.model.scale
        expected = (len(self.seeds), len(moments), len(scale))
        if not isinstance(latents, Tensor) or latents.shape != expected or latents.dtype != scale.dtype:
            got = f"{tuple(latents.shape)} {latents.dtype}" if isinstance(latents, Tensor) else type(latents).__name__
            raise GraspPlannerError(f"model.encode({name}) must return {expected} {scale.dtype}, got {got}")
        return latents


def _note(reason: list[str], rows: Bool[Tensor, " b"], text: str) -> None:
    """Say what is wrong, of these environments, where nothing is said yet."""
    for i in rows.nonzero().flatten().tolist():
        reason[i] = reason[i] or text


def _differing(first: Frame, second: Frame) -> Bool[Tensor, " b"]:
    """Which environments' frames differ.

    Raises:
        GraspPlannerError: they cannot be compared.
    """
    if first.keys() != second.keys() or any(first[key].shape != second[key].shape for key in first):
        shapes, before = ({key: tuple(value.shape) for key, value in frame.items()} for frame in (first, second))
        raise GraspPlannerError(
            f"goal must be {before} like the first one, got {shapes}: call reset() for another kind"
        )
    return ~torch.stack([(first[key] == second[key]).flatten(1).all(1).cpu() for key in first]).all(0)


def _later(problem: Problem, blocks: Tensor) -> Problem:
    """The same problems some steps later, after the actions (b, k, a), as the model predicts it."""
    h = problem.context
    with torch.no_grad(), frozen(problem.dynamics):
        states = torch.cat([problem.states, problem.rollout(blocks)], dim=1)[:, -h:]
    taken = torch.cat([problem.past_actions, blocks], dim=1)
    return Problem(
        problem.dynamics,
        states=states,
        past_actions=taken[:, taken.shape[1] - h + 1 :],
        goal=problem.goal,
        horizon=problem.horizon,
        low=problem.low,
        high=problem.high,
        objective=problem.objective,
        scale=problem.scale,
    )
