"""The closed loop: observe, encode, plan, act, and start the next plan from what is left of the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from grasp_planner.errors import GraspPlannerError
from grasp_planner.models.base import ActionUnits, WorldModel, goal_objective
from grasp_planner.objectives import Objective
from grasp_planner.planner import Planner, plan
from grasp_planner.plans import Budget, Plan
from grasp_planner.problem import Problem

Observation = Mapping[str, Any]


class Agent:
    """Drives one environment, or a batch of them, by replanning in a world model.

    ``act`` is called once a model step, that is every ``model.frameskip`` environment steps, and returns the block of
    environment actions to take until the next call. Every ``execute`` calls it plans anew, starting from the rest of
    the last plan; in between it goes on with the plan it has.

    Args:
        model: a :class:`~grasp_planner.models.base.WorldModel`.
        planner: one of ``PLANNERS``.
        budget: for each plan.
        execute: k, model steps of a plan that are taken before the next plan; at most ``horizon``.
        horizon: model steps to plan ahead.
        objective: ``None``: the distance to the goal, weighted by ``model.goal_weights`` where the model has them.
        seed: for the planner's noise; with ``batch``, one integer or one an environment.
        batch: ``None`` for a single environment, whose observations have no batch axis; otherwise the number of
            environments, whose observations have it in front.

    Attributes:
        plan: the last :class:`Plan`, ``None`` before the first call: status, cost and trace are there to be looked at.

    Raises:
        GraspPlannerError: settings that do not fit together; in ``act``, observations of another number of
            environments, or that encode to something that is not finite.

    Example:
        >>> import gymnasium, grasp_planner.envs
        >>> from grasp_planner import Agent, Budget, GD, load_world_model
        >>> environment = gymnasium.make("grasp_planner/PushT-v1")
        >>> observation, info = environment.reset(seed=0)
        >>> agent = Agent(load_world_model("pusht-state"), GD(), Budget(steps=5), execute=2, horizon=5)
        >>> for action in agent.act(observation, {"state": info["goal"]}):
        ...     observation, *_ = environment.step(action)
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
    ) -> None:
        if not 1 <= execute <= horizon:
            raise GraspPlannerError(f"execute must be between 1 and the horizon ({horizon}), got {execute}")
        if batch is not None and batch < 1:
            raise GraspPlannerError(f"batch must be None (one environment) or >= 1, got {batch}")
        self.model, self.planner, self.budget = model, planner, budget
        self.execute, self.horizon, self.batch = execute, horizon, batch
        self.objective = goal_objective(model) if objective is None else objective
        count = batch or 1
        self.seeds = [seed] * count if isinstance(seed, int) else list(seed)
        if len(self.seeds) != count:
            raise GraspPlannerError(f"seed must be one integer or {count} (one an environment), got {len(self.seeds)}")
        self.reset()

    def reset(self) -> None:
        """Forget the history, the goal and the last plan: a new episode begins."""
        self.plan: Plan | None = None
        self._taken = 0  # model steps taken of the current plan
        self._replans = 0
        self._goal: dict[str, Tensor] | None = None
        self._frames: deque[dict[str, Tensor]] = deque(maxlen=self.model.context)
        self._blocks: deque[Tensor] = deque(maxlen=max(1, self.model.context - 1))

    def act(self, observation: Observation, goal: Observation) -> numpy.ndarray:
        """The environment actions until the next call: ``(frameskip, e)``, with a batch ``(b, frameskip, e)``.

        Args:
            observation: arrays of one moment, the keys that ``model.encode`` reads.
            goal: the same for the goal. When it changes, the old plan is dropped and a new one is made at once.
        """
        self._frames.append(self._batched(observation, "observation"))
        wanted = self._batched(goal, "goal")
        if not _same(wanted, self._goal):
            self._goal, self.plan = wanted, None
        if self.plan is None or self._taken >= self.execute:
            self.plan = self._replanned(wanted)
        block = self.plan.actions[:, self._taken]
        self._taken += 1
        self._blocks.append(block)
        actions = environment_actions(self.model, block).numpy(force=True)
        return actions if self.batch is not None else actions[0]

    def _replanned(self, goal: dict[str, Tensor]) -> Plan:
        warm_start = None if self.plan is None else self.plan.warm_start.shifted(self._taken)
        problem = Problem(
            self.model,
            states=self._history(),
            past_actions=self._past_actions(),
            goal=self._encoded([goal], "goal")[:, -1],
            horizon=self.horizon,
            low=self.model.low,
            high=self.model.high,
            objective=self.objective,
            scale=self.model.scale,
        )
        seeds = [seed + self._replans for seed in self.seeds]
        self._taken = 0
        self._replans += 1
        return plan(problem, self.planner, self.budget, seeds=seeds, warm_start=warm_start)

    def _history(self) -> Tensor:
        """``(b, h, s)``: the last h moments; the first one repeated where there were fewer."""
        missing = self.model.context - len(self._frames)
        return self._encoded([self._frames[0]] * missing + list(self._frames), "observation")

    def _past_actions(self) -> Tensor:
        """``(b, h-1, a)``: the blocks between those moments; before the first one nothing was done."""
        count = self.model.context - 1
        idle = idle_block(self.model).expand(self.batch or 1, -1)
        known = list(self._blocks)[len(self._blocks) - min(count, len(self._blocks)) :]
        blocks = [idle] * (count - len(known)) + known
        return torch.stack(blocks, dim=1) if blocks else idle.new_zeros(len(idle), 0, idle.shape[1])

    def _batched(self, observation: Observation, name: str) -> dict[str, Tensor]:
        arrays = {key: torch.as_tensor(value) for key, value in observation.items()}
        if self.batch is None:
            return {key: value[None] for key, value in arrays.items()}
        for key, value in arrays.items():
            if value.ndim == 0 or value.shape[0] != self.batch:
                raise GraspPlannerError(
                    f"{name}[{key!r}] must have {self.batch} environments in front, got {tuple(value.shape)}"
                )
        return arrays

    def _encoded(self, moments: list[dict[str, Tensor]], name: str) -> Tensor:
        stacked = {key: torch.stack([moment[key] for moment in moments], dim=1) for key in moments[-1]}
        with torch.no_grad():
            latents = self.model.encode(stacked)
        if not bool(torch.isfinite(latents).all()):
            raise GraspPlannerError(f"{name} must encode to finite latents, got NaN or infinity")
        return latents


def _same(first: dict[str, Tensor], second: dict[str, Tensor] | None) -> bool:
    if second is None or first.keys() != second.keys():
        return False
    return all(map(torch.equal, first.values(), second.values()))


def environment_actions(model: WorldModel, actions: Tensor) -> Tensor:
    """Model actions ``(..., a)`` as blocks ``(..., frameskip, e)`` of environment actions, in its units."""
    if isinstance(model, ActionUnits):
        return model.environment_actions(actions)
    return actions.unflatten(-1, (model.frameskip, -1))


def idle_block(model: WorldModel) -> Tensor:
    """The model action ``(a,)`` that stands for doing nothing in the environment: zero in *its* units."""
    zero = torch.zeros_like(model.low)
    if isinstance(model, ActionUnits):
        return model.model_actions(torch.zeros_like(model.environment_actions(zero)))
    return zero
