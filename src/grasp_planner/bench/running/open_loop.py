"""Open loop: plan a batch of episodes in the model, execute the whole plans in the simulator, and measure."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.simulation import Outcome, execute
from grasp_planner.bench.tasks import Episode, Task, digest
from grasp_planner.control.planner_files import settings_of
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.objectives import Objective
from grasp_planner.core.plans import Budget, Plan, Status
from grasp_planner.core.world_model import SeesPictures, StateDecoder, WorldModel, environment_actions
from grasp_planner.planning.loop import run
from grasp_planner.planning.protocol import Callback, Planner


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of one planner on n episodes of a task.

    Success is counted in three ways: at the end of the plan in the simulator (the measure of the paper and of
    DINO-WM), at any time in the simulator (the measure of stable-worldmodel), and at the end of the plan's rollout in
    the model. The planner does not see these measures.

    Attributes:
        task: the task; its horizon is the horizon of the plans in environment steps.
        planner: the planner with its settings.
        budget: the budget of the plans.
        episodes: the n episodes.
        plan: the plans. ``seconds`` is for all n episodes together, ``transitions`` is per episode.
        actions: (n, horizon, e) the executed actions, in environment units.
        outcomes: results in the simulator, one per episode.
        processor_seconds: processor time of planning in seconds, for all n episodes together.
        imagined: (n, T + 1, s) environment states of the plan's rollout in the model, every ``frameskip``
            environment steps; ``None`` for models that do not decode states.
    """

    task: Task
    planner: Planner
    budget: Budget
    episodes: tuple[Episode, ...]
    plan: Plan
    actions: np.ndarray
    outcomes: tuple[Outcome, ...]
    processor_seconds: float
    imagined: np.ndarray | None

    @property
    def goals(self) -> np.ndarray:
        """(n, s) goal states."""
        return np.stack([episode.goal for episode in self.episodes])

    @property
    def success(self) -> np.ndarray:
        """(n,) bool: whether the simulator is at the goal at the end."""
        return np.array([outcome.success_end for outcome in self.outcomes])

    @property
    def reached(self) -> np.ndarray:
        """(n,) bool: whether the simulator is at the goal at any time after the start."""
        return np.array([outcome.success_any for outcome in self.outcomes])

    @property
    def success_model(self) -> np.ndarray | None:
        """(n,) bool: whether the model's rollout ends at the goal."""
        return None if self.imagined is None else self.task.success(self.imagined[:, -1], self.goals)

    @property
    def distances(self) -> dict[str, np.ndarray]:
        """Distances (n,) from the last state of the simulator to the goals, by name; units are in the names."""
        last = self.outcomes[0].distances
        return {name: np.array([outcome.distances[name][-1] for outcome in self.outcomes]) for name in last}

    @property
    def distances_model(self) -> dict[str, np.ndarray] | None:
        """Distances (n,) from the last state of the model's rollout to the goals, by name."""
        return None if self.imagined is None else self.task.distances(self.imagined[:, -1], self.goals)

    @property
    def planner_name(self) -> str:
        """The planner's name in ``PLANNERS``, or the name of its class."""
        return settings_of(self.planner)["name"]

    @property
    def interrupted(self) -> bool:
        """Whether planning was stopped by Ctrl-C or by its callback."""
        return bool((self.plan.status == int(Status.INTERRUPTED)).any())

    def records(self) -> list[dict[str, Any]]:
        """Return one row of JSON values per episode."""
        success_model, distances_model = self.success_model, self.distances_model
        return [
            {
                "episode": episode.index,
                "seed": episode.seed,
                "success": outcome.success_end,
                "reached": outcome.success_any,
                "success_step": outcome.success_step,
                "success_model": None if success_model is None else bool(success_model[i]),
                "start_distances": _row(outcome.distances, 0),
                "distances": _row(outcome.distances, -1),
                "distances_model": None if distances_model is None else _row(distances_model, i),
                "cost": _finite(float(self.plan.cost[i])),
                "status": Status(int(self.plan.status[i])).name,
            }
            for i, (episode, outcome) in enumerate(zip(self.episodes, self.outcomes, strict=True))
        ]

    def summary(self) -> dict[str, Any]:
        """Return settings, spent budget, success rates, median distances and ``records`` as JSON values."""
        return {
            "task": self.task.name,
            "horizon": self.task.horizon,
            "episodes_digest": digest(self.episodes),
            "planner": settings_of(self.planner),
            "budget": asdict(self.budget),
            "steps": self.plan.steps,
            "seconds": round(self.plan.seconds, 3),
            "transitions": self.plan.transitions,
            "model_calls": self.plan.calls,
            "success_rate": float(self.success.mean()),
            "reached_rate": float(self.reached.mean()),
            "success_rate_model": None if self.success_model is None else float(self.success_model.mean()),
            "median_distances": {name: _finite(float(np.median(value))) for name, value in self.distances.items()},
            "episodes": self.records(),
        }


def evaluate(
    task: Task,
    model: WorldModel,
    planner: Planner,
    budget: Budget,
    episodes: Sequence[Episode],
    *,
    objective: Objective | None = None,
    pixels: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    dynamics: Dynamics | None = None,
) -> Evaluation:
    """Plan all episodes at once in the model, then execute each whole plan in the simulator.

    Args:
        task: task of the episodes; its ``horizon`` (environment steps) must be a multiple of ``model.frameskip``.
        model: the world model in which plans are made.
        planner: one of ``PLANNERS``.
        budget: budget for the whole batch. The time of the simulator does not count.
        episodes: episodes of the task, see ``tasks.episodes``.
        objective: ``None``: the distance to the goal, with the goal weights of the model.
        pixels: side of the pictures to draw for the model; ``None``: the size that the model reads, or no pictures.
        seed: number that is added to the seeds of the episodes for the planner's noise.
        callback: callback of ``plan``; see ``planning_frames.Recorder``.
        dynamics: how the model is evaluated, such as ``Compiled(model)``; ``None``: the model itself.

    Raises:
        GraspPlannerError: the horizon is not a whole number of model steps, or task and model do not fit together.
    """
    if pixels is None and isinstance(model, SeesPictures):
        pixels = model.pixels
    problem = problem_of(task, model, episodes, pixels=pixels, objective=objective, dynamics=dynamics)
    seeds = [episode.seed + seed for episode in episodes]
    before = time.process_time()
    found = run(problem, planner, budget, seeds=seeds, callback=callback)
    processor = time.process_time() - before
    actions = executable(model, found.actions)
    env = task.make()
    outcomes = tuple(execute(task, episode, taken, env) for episode, taken in zip(episodes, actions, strict=True))
    imagined = decoded(model, torch.cat([problem.start[:, None], found.states], dim=1))
    return Evaluation(task, planner, budget, tuple(episodes), found, actions, outcomes, processor, imagined)


def executable(model: WorldModel, actions: torch.Tensor) -> np.ndarray:
    """Convert model actions (..., t, a) to environment actions (..., t * frameskip, e) in the environment's units."""
    return environment_actions(model, actions).flatten(-3, -2).numpy(force=True).astype(np.float64)


def decoded(model: WorldModel, latents: torch.Tensor) -> np.ndarray | None:
    """Decode latents to environment states (..., s); ``None`` for models that do not decode states."""
    if not isinstance(model, StateDecoder):
        return None
    with torch.no_grad():
        return model.decode_state(latents).numpy(force=True).astype(np.float64)


def _row(values: dict[str, np.ndarray], i: int) -> dict[str, float | None]:
    return {name: _finite(float(value[i])) for name, value in values.items()}


def _finite(value: float) -> float | None:
    """Return the value, or ``None`` if it is not finite, because JSON has no such numbers."""
    return value if math.isfinite(value) else None
