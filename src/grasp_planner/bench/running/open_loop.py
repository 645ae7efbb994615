"""Evaluate: plan a batch of a task's episodes in a model, execute the plans in the simulator, and measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch

from grasp_planner.bench.running.simulation import Outcome, execute
from grasp_planner.bench.tasks import Episode, Task, digest
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import Objective
from grasp_planner.core.plans import Budget, Plan, Status
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import (
    SeesPictures,
    StateDecoder,
    WorldModel,
    environment_actions,
    goal_objective,
    idle_block,
)
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.recommended import plan
from grasp_planner.planning.protocol import Callback, Planner


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one planner made of n episodes of a task.

    Success is kept apart three ways: at the end of the plan in the simulator (the paper's and DINO-WM's measure), at
    any time on the way (stable-worldmodel's), and at the end under the model. The planner sees none of them.

    Attributes:
        task: with the horizon that was planned for, in environment steps.
        planner: the settings that planned.
        budget: what it might spend.
        episodes: what was asked.
        plan: what it found; ``seconds`` are for all n episodes together, ``transitions`` for each.
        actions: (n, horizon, e) in environment units, as executed.
        outcomes: what came of each plan in the simulator.
        imagined: (n, T + 1, s) environment states of the plan's rollout in the model, every ``frameskip``
            environment steps; ``None`` where the model does not decode states.
    """

    task: Task
    planner: Planner
    budget: Budget
    episodes: tuple[Episode, ...]
    plan: Plan
    actions: np.ndarray
    outcomes: tuple[Outcome, ...]
    imagined: np.ndarray | None

    @property
    def goals(self) -> np.ndarray:
        """(n, s) goal states."""
        return np.stack([episode.goal for episode in self.episodes])

    @property
    def success(self) -> np.ndarray:
        """(n,) bool: at the goal at the end, in the simulator."""
        return np.array([outcome.success_end for outcome in self.outcomes])

    @property
    def reached(self) -> np.ndarray:
        """(n,) bool: at the goal at any time after the start, in the simulator."""
        return np.array([outcome.success_any for outcome in self.outcomes])

    @property
    def success_model(self) -> np.ndarray | None:
        """(n,) bool: at the goal at the end, under the model."""
        return None if self.imagined is None else self.task.success(self.imagined[:, -1], self.goals)

    @property
    def distances(self) -> dict[str, np.ndarray]:
        """(n,) each: how far from the goal the simulator was at the end; units in the names."""
        last = self.outcomes[0].distances
        return {name: np.array([outcome.distances[name][-1] for outcome in self.outcomes]) for name in last}

    @property
    def distances_model(self) -> dict[str, np.ndarray] | None:
        """(n,) each: the same under the model."""
        return None if self.imagined is None else self.task.distances(self.imagined[:, -1], self.goals)

    @property
    def planner_name(self) -> str:
        """The planner's name in ``PLANNERS``, or that of its class."""
        return next((name for name, cls in PLANNERS.items() if type(self.planner) is cls), type(self.planner).__name__)

    @property
    def interrupted(self) -> bool:
        """Whether planning was stopped by Ctrl-C or its callback."""
        return bool((self.plan.status == int(Status.INTERRUPTED)).any())

    def records(self) -> list[dict[str, Any]]:
        """One row an episode, of JSON values."""
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
        """The whole in JSON values: settings, spending, rates, median distances, and ``records``."""
        return {
            "task": self.task.name,
            "horizon": self.task.horizon,
            "episodes_digest": digest(self.episodes),
            "planner": {"name": self.planner_name, **described(self.planner)},
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
    """Plan all episodes at once, in the model alone, then execute each plan open loop in the simulator.

    Args:
        task: what is to be done; its ``horizon`` (environment steps) must be a multiple of ``model.frameskip``.
        model: where it is planned.
        planner: one of ``PLANNERS``.
        budget: for the whole batch; the simulator runs off the clock.
        episodes: of this task, see ``tasks.episodes``.
        objective: ``None``: the distance to the goal as the model weighs it.
        pixels: size of the pictures to draw for the model; ``None``: what it says itself, or none.
        seed: added to the episodes' own seeds for the planner's noise.
        callback: of ``plan``; see ``recording.Recorder``.
        dynamics: how the model is run, such as ``Compiled(model)``; ``None``: as it is.

    Raises:
        GraspPlannerError: the horizon is not a whole number of model steps, or task and model do not fit together.
    """
    if pixels is None and isinstance(model, SeesPictures):
        pixels = model.pixels
    env = task.make(pixels=pixels)
    observations = [observe(env, episode) for episode in episodes]
    problem = problem_of(model, observations, task.horizon, objective)
    problem = problem if dynamics is None else problem.through(dynamics)
    seeds = [episode.seed + seed for episode in episodes]
    found = plan(problem, planner, budget, seeds=seeds, callback=callback)
    actions = environment_actions(model, found.actions).flatten(1, 2).numpy(force=True).astype(np.float64)
    outcomes = tuple(execute(task, episode, taken, env) for episode, taken in zip(episodes, actions, strict=True))
    imagined = decoded(model, torch.cat([problem.start[:, None], found.states], dim=1))
    return Evaluation(task, planner, budget, tuple(episodes), found, actions, outcomes, imagined)


def observe(env: Any, episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is seen at the start of an episode, and what would be seen at its goal; no axis in front."""
    seen, _ = env.reset(seed=episode.seed, options={"state": episode.start, "goal": episode.goal})
    wanted = {"state": episode.goal, "proprio": env.proprio_of(episode.goal)}
    if "pixels" in seen:
        wanted["pixels"] = env.picture(episode.goal, seen["pixels"].shape[0])
    return seen, wanted


def problem_of(
    model: WorldModel,
    observations: Sequence[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]],
    horizon: int,
    objective: Objective | None = None,
) -> Problem:
    """The planning problems from what is seen to what is wanted, ``horizon`` environment steps apart.

    A model that reads a history gets the first observation repeated, with nothing done in between.

    Raises:
        GraspPlannerError: the horizon is not a whole number of model steps, or the model refuses the observations.
    """
    if horizon < 1 or horizon % model.frameskip:
        raise GraspPlannerError(
            f"the horizon must be a multiple of {model.frameskip} environment steps (one model step), got {horizon}"
        )
    seen, wanted = zip(*observations, strict=True)
    start, goal = _encoded(model, seen, model.context), _encoded(model, wanted, 1)[:, -1]
    return Problem(
        model,
        states=start,
        past_actions=idle_block(model).expand(len(start), model.context - 1, -1),
        goal=goal,
        horizon=horizon // model.frameskip,
        low=model.low,
        high=model.high,
        objective=goal_objective(model) if objective is None else objective,
        scale=model.scale,
    )


def decoded(model: WorldModel, latents: torch.Tensor) -> np.ndarray | None:
    """Environment states (..., s) that latents stand for; ``None`` where the model does not say."""
    if not isinstance(model, StateDecoder):
        return None
    with torch.no_grad():
        return model.decode_state(latents).numpy(force=True).astype(np.float64)


def described(settings: Any) -> dict[str, Any]:
    """The settings of a planner as JSON values; a planner inside keeps its name.

    >>> from grasp_planner import GD, GRASP
    >>> described(GRASP(sync=GD(lr=0.1)))["sync"]["name"]
    'gd'
    """
    names = {cls: name for name, cls in PLANNERS.items()}
    if not is_dataclass(settings):
        return {"settings": repr(settings)}
    content = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        content[one.name] = {"name": names[type(value)], **described(value)} if type(value) in names else value
    return content


def _encoded(model: WorldModel, moments: Sequence[dict[str, np.ndarray]], repeats: int) -> torch.Tensor:
    stacked = {key: np.stack([moment[key] for moment in moments])[:, None] for key in moments[0]}
    with torch.no_grad():
        return model.encode({key: np.repeat(value, repeats, axis=1) for key, value in stacked.items()})


def _row(values: dict[str, np.ndarray], i: int) -> dict[str, float | None]:
    return {name: _finite(float(value[i])) for name, value in values.items()}


def _finite(value: float) -> float | None:
    """JSON knows no NaN or infinity."""
    return value if np.isfinite(value) else None
