"""The agent, which runs a planner in closed loop: it observes, encodes, plans, acts and replans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grasp_planner.control.agent_state import AgentState, Goals, Report
from grasp_planner.control.current_plans import CurrentPlans, Source
from grasp_planner.control.frames import LATENT, Frame, Observation, differing, encoded, frame_of, latent_frame, merged
from grasp_planner.control.history import History
from grasp_planner.core.constraints import unconstrained, violated
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError, TooLargeError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import GoalDistance, Objective, discount_of
from grasp_planner.core.plans import Budget, Plan, Status
from grasp_planner.core.problem import Problem
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.core.world_model import WorldModel, environment_actions, goal_objective, idle_block
from grasp_planner.planning.loop import run
from grasp_planner.planning.protocol import Planner
from grasp_planner.trust.diagnosis import Diagnosis, diagnose
from grasp_planner.trust.law import TrustLaw


class Agent:
    """Drive one environment, or a batch of environments, by replanning in a world model.

    ``act`` is called once per model step, that is every ``model.frameskip`` environment steps. It returns the
    environment actions up to the next call. The agent makes a new plan every ``execute`` calls, and each new plan
    starts from the rest of the last plan. In other calls, the agent follows its last plan.

    After the first plan, ``act`` always returns actions. Planning fails for an environment if the observation is
    missing, not finite or of another shape, if no plan of finite cost is found, or if memory does not suffice. The
    environment then follows the rest of its last valid plan, and does nothing after the end of that plan. The next call
    plans for this environment again. ``report`` says what happened. The next plan does not start from the rest of the
    last plan if the goal has changed, if the last plan is at its end, or if planning has failed since.

    Errors other than ``GraspPlannerError`` reach the caller. If ``act`` raises, the agent's state is unchanged.

    Args:
        model: a :class:`~grasp_planner.core.world_model.WorldModel`.
        planner: a planner, such as one of ``PLANNERS``.
        budget: the budget of each plan.
        execute: k, the model steps of a plan that are executed before the next plan is made; at most ``horizon``.
        trust: a trust law, which diagnoses each plan. A plan is replaced at its trust horizon if the trust horizon is
            less than ``execute``, but not before one step. ``None``: no diagnosis.
        horizon: length of each plan in model steps.
        objective: ``None``: the distance to the goal, with ``model.goal_weights`` where the model has them. An agent
            that replans after every step needs a cost at every step (``GoalDistance(stage_weight=0.1)``). Otherwise
            each new plan may reach the goal only at its end, and so never. A plan that violates the event of a
            ``Constrained`` objective is executed, and ``report`` says so. With an objective of rewards, such as
            ``DiscountedReturn``, the agent needs no goal.
        seeds: seeds of the planner's noise: one integer, or one integer for each environment. Every plan draws from its
            own random stream. Environments with the same seed have the same streams.
        batch: ``None`` for a single environment, whose observations have no batch axis; otherwise the number of
            environments, which is the first axis of every observation.
        dynamics: how planning evaluates the model, such as ``Compiled(model)`` or ``Chunked(model, memory=2**30)``;
            ``None``: the model itself.

    Attributes:
        plan: the last :class:`Plan`, with rows for the environments that it was made for; ``None`` before the first
            plan.
        diagnosis: the :class:`Diagnosis` of the last plan; ``None`` without a trust law.
        report: a :class:`Report` on the last call of ``act``.

    Raises:
        GraspPlannerError: settings do not fit together. ``act`` raises it only for faults before the first plan.
        TooLargeError: in ``act``, before the first plan: the planner's settings do not allow problems of this size.

    Example:
        >>> import gymnasium, grasp_planner.domains
        >>> from grasp_planner import Agent, Budget, GD, load_world_model
        >>> environment = gymnasium.make("grasp_planner/PushT-v1")
        >>> observation, info = environment.reset(seed=0)
        >>> agent = Agent(load_world_model("pusht-state"), GD(), Budget(steps=5), execute=2, horizon=5)
        >>> for action in agent.act(observation, {"state": info["goal"]}):
        ...     observation, *_ = environment.step(action)
        >>> agent.act(None).shape, agent.report.source  # the agent follows its plan without an observation
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
        seeds: int | Sequence[int] | Tensor = 0,
        batch: int | None = None,
        dynamics: Dynamics | None = None,
        trust: TrustLaw | None = None,
    ) -> None:
        horizon = _whole(horizon, "horizon must be an integer >= 1 (model steps)")
        execute = _whole(execute, f"execute must be an integer between 1 and the horizon ({horizon})", horizon)
        if batch is not None:
            batch = _whole(batch, "batch must be None (one environment) or an integer >= 1")
        self.model, self.planner, self.budget = model, planner, budget
        self.dynamics = dynamics
        self.execute, self.horizon, self.batch, self.trust = execute, horizon, batch, trust
        self.objective = objective
        self._environments = batch or 1
        self._noise = Noise.of(seeds, self._environments)
        self.reset()

    def reset(self) -> None:
        """Delete the history, the goals and the plans of the episode."""
        self._state = AgentState(
            history=History(self.model.context, self.model.context + self.horizon),
            plans=CurrentPlans.none(self._environments, self.horizon, self.model.low),
            replans=torch.zeros(self._environments, dtype=torch.int64),
        )

    @property
    def plan(self) -> Plan | None:
        """The last plan, with rows for the environments that it was made for."""
        return self._state.plan

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The diagnosis of the last plan by the trust law."""
        return self._state.diagnosis

    @property
    def report(self) -> Report:
        """The report on the last call of ``act``."""
        return self._state.report

    def act(
        self, observation: Observation | None, goal: Observation | Tensor | None = None, *, late: int = 0
    ) -> numpy.ndarray:
        """Return the environment actions up to the next call: ``(frameskip, e)``, with a batch ``(b, frameskip, e)``.

        Args:
            observation: arrays of one moment, with the keys that ``model.encode`` reads; ``None``: no observation.
            goal: the same for the goal, or latents ``(b, s)`` or ``(s,)``; ``None``: the goal is unchanged. Where the
                goal changes, the old plan is dropped and a new plan is made at once. A goal that cannot be encoded is
                ignored. A goal may lack arrays that do not count towards it, such as proprioception where the weight
                of its coordinates in the objective is 0. An agent with an objective of rewards needs no goal.
            late: age of the observation in model steps. The agent predicts the current state from the observation and
                the actions after it.
        """
        before = self._state
        try:
            return self._act(observation, goal, late)
        except BaseException:
            self._state = before
            raise

    def _act(self, observation: Observation | None, goal: Observation | Tensor | None, late: int) -> numpy.ndarray:
        reason = [""] * self._environments
        self._state = replace(self._state, history=self._state.history.begun(self._state.planned))
        if goal is not None:
            self._change_goal(goal, observation, reason)
        observed = self._observe(observation, late, reason)
        due = self._state.plans.due
        planned = torch.zeros_like(due)
        needs_goal = self.objective is None or discount_of(self.objective) is None
        if due.any() and needs_goal and self._state.goals is None:
            _note(reason, due, "there is no goal yet: act(observation, goal)")
        elif due.any() and observed:
            planned = self._replan(due, late, reason)
        plans = self._state.plans
        if plans.states is None:
            raise GraspPlannerError(next(filter(None, reason)))
        source = torch.where(due, int(Source.FALLBACK), int(Source.CONTINUED))
        source[planned] = int(Source.PLANNED)
        source[~plans.active] = int(Source.IDLE)
        action, after = plans.current(idle_block(self.model))
        self._state = replace(
            self._state,
            history=self._state.history.acted(action),
            plans=plans.advanced(),
            planned=after,
            report=Report(tuple(map(Source, source.tolist())), tuple(reason), tuple(plans.step.tolist())),
        )
        actions = environment_actions(self.model, action).numpy(force=True)
        return actions if self.batch is not None else actions[0]

    def _change_goal(self, goal: Observation | Tensor, observation: Observation | None, reason: list[str]) -> None:
        """Encode the goal if it is new, and drop the plans of the environments whose goal has changed."""
        everyone, goals = torch.ones(self._environments, dtype=torch.bool), self._state.goals
        try:
            latent = isinstance(goal, Tensor)
            frame = latent_frame(goal, self.model, self.batch) if latent else frame_of(goal, self.batch, "goal")
            changed = everyone if goals is None else differing(frame, goals.frame)
            if not changed.any():
                return
            latents = frame[LATENT] if latent else self._encoded_goal(frame, observation)
        except GraspPlannerError as error:
            _note(reason, everyone, str(error))
            return
        usable = torch.isfinite(latents).all(1).cpu()
        _note(reason, changed & ~usable, "goal encodes to NaN or infinity")
        if goals is None:
            goals = Goals(frame, torch.full_like(latents, torch.nan))
        rows = changed & usable
        kept = torch.where(rows.to(latents.device)[:, None], latents, goals.latents)
        self._state = replace(
            self._state,
            goals=Goals(merged(rows, frame, goals.frame), kept),
            plans=self._state.plans.dropped(rows),
        )

    def _encoded_goal(self, goal: Frame, observation: Observation | None) -> Float[Tensor, "b s"]:
        """Encode a goal. Arrays that it lacks and that do not count towards it are those of the observation."""
        known = self._state.history.first  # of the form that the model reads
        if known is None and observation is not None:
            known = frame_of(observation, self.batch, "observation")
        lacking = {key: value for key, value in (known or {}).items() if key not in goal}
        latents = encoded(self.model, [{**lacking, **goal}], "goal")[:, -1]
        if lacking:
            objective = goal_objective(self.model) if self.objective is None else unconstrained(self.objective)
            others = {key: value + 1 for key, value in lacking.items()}
            differ = (encoded(self.model, [{**others, **goal}], "goal")[:, -1] != latents).any(0)
            counts = objective.weights_like(latents) if isinstance(objective, GoalDistance) else differ
            if counts[differ].any():
                raise GraspPlannerError(f"goal lacks {sorted(lacking)}, which the cost depends on")
        return latents

    def _observe(self, observation: Observation | None, late: int, reason: list[str]) -> bool:
        """Add an observation to the history. Return whether there was an observation of the right form."""
        everyone = torch.ones(self._environments, dtype=torch.bool)
        if observation is None:
            _note(reason, everyone, "there is no observation")
            return False
        try:
            history = self._state.history.observed(frame_of(observation, self.batch, "observation"), late)
        except GraspPlannerError as error:
            _note(reason, everyone, str(error))
            return False
        self._state = replace(self._state, history=history)
        return True

    def _replan(self, due: Bool[Tensor, " b"], late: int, reason: list[str]) -> Bool[Tensor, " b"]:
        """Make plans for the environments that are due. Return which environments got a plan."""
        nobody, state = torch.zeros_like(due), self._state
        try:
            states, seen = state.history.states(lambda frames: encoded(self.model, frames, "observation"), late)
            _note(reason, due & ~seen.all(1).cpu(), "observation encodes to NaN or infinity, or was missing")
            ready = due.to(seen.device) & seen[:, -1]
            if state.goals is not None:
                ready &= torch.isfinite(state.goals.latents).all(1)
            if not ready.any():
                return nobody
            places = ready.nonzero().flatten()
            problem = self._problem(places, states, late)
            streams = Noise(self._noise.seeds[places.cpu()]).fold(state.replans[places.cpu()])
            rest = state.plans.warm_start(places)
            found = run(problem, self.planner, self.budget, seeds=streams, warm_start=rest)
            told = None if self.trust is None else diagnose(problem, found, self.trust)
        except GraspPlannerError as error:
            if isinstance(error, TooLargeError) and state.plans.states is None:
                raise
            _note(reason, due, str(error))
            return nobody
        good = torch.isfinite(found.cost)
        planned, failed = nobody.clone(), nobody.clone()
        planned[places[good].cpu()] = True
        failed[places[~good].cpu()] = True
        _note(reason, failed, f"no plan of finite cost was found ({Status.NONFINITE.name})")
        if found.violation is not None:
            broken = nobody.index_fill(0, places[good & violated(found.violation)].cpu(), True)
            _note(reason, broken, f"the plan violates the constraint ({Status.VIOLATED.name})")
        replan_at = torch.full_like(places, self.execute) if told is None else told.trust.clamp(1, self.execute)
        plans = state.plans.not_reusable(failed)
        self._state = replace(
            state,
            plans=plans.replaced(places[good], found.actions[good], found.states[good], replan_at[good]),
            replans=state.replans.index_add(0, places.cpu(), torch.ones(len(places), dtype=torch.int64)),
            plan=found,
            diagnosis=told,
        )
        return planned

    def _problem(self, places: Int[Tensor, " k"], states: Float[Tensor, "b h s"], late: int) -> Problem:
        """Return the problems of the environments ``places``, which were in ``states`` ``late`` model steps ago."""
        state, h = self._state, self.model.context
        idle = idle_block(self.model).expand(self._environments, -1)
        problem = Problem.observed(
            self.model,
            states[places],
            None if state.goals is None else state.goals.latents[places],
            self.horizon,
            past_actions=state.history.actions(h - 1, late, idle)[places],
            objective=self.objective,
            dynamics=self.dynamics,
        )
        return _after(problem, state.history.actions(late, 0, idle)[places]) if late else problem


def _whole(value: object, wanted: str, most: int | None = None) -> int:
    """Return an integer of Python or numpy that is at least 1."""
    number = isinstance(value, (int, numpy.integer)) and not isinstance(value, bool)
    if not number or value < 1 or (most is not None and value > most):  # type: ignore[operator]
        raise GraspPlannerError(f"{wanted}, got {value!r}")
    return int(value)  # type: ignore[arg-type]


def _note(reason: list[str], rows: Bool[Tensor, " b"], text: str) -> None:
    """Record what is wrong in some environments. Only the first entry of each environment is kept."""
    for i in rows.nonzero().flatten().tolist():
        reason[i] = reason[i] or text


def _after(problem: Problem, actions: Float[Tensor, "b k a"]) -> Problem:
    """Return the same problems after k more model steps, as the model predicts them."""
    h = problem.context
    with planning_mode(problem.states.device, problem.dynamics):
        states = torch.cat([problem.states, problem.rollout(actions)], dim=1)[:, -h:]
    taken = torch.cat([problem.past_actions, actions], dim=1)
    return replace(problem, states=states, past_actions=taken[:, taken.shape[1] - h + 1 :])
