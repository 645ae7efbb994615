"""The planner's distance to the goal along paths that are known to reach the goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from grasp_planner.bench.running.model_gaps import encoded_states
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.world_model import WorldModel


@dataclass(frozen=True)
class GoalPaths:
    """Distances to the goal along paths that reach the goal, as the planner's objective measures them.

    Attributes:
        steps: (k,) environment steps.
        cost: (n, k) distance at these steps, relative to the distance at the start.
        away: share of the steps that increase the distance.
        farther: (n,) largest distance on each path, relative to the distance at the start.
    """

    steps: tuple[int, ...]
    cost: tuple[tuple[float, ...], ...]
    away: float
    farther: tuple[float, ...]


def goal_paths(task: Task, model: WorldModel, episodes: Sequence[Episode], pixels: int | None = None) -> GoalPaths:
    """Measure the planner's distance to the goal along paths of the scripted policy that end at the goal.

    Raises:
        GraspPlannerError: the task has no known actions that reach the goals.
    """
    env = task.make(pixels=pixels)
    known = [episode.actions for episode in episodes]
    if any(actions is None for actions in known):
        raise GraspPlannerError(f"{task.name} does not say how its goals are reached: take a task with the source dset")
    paths = [execute(task, e, a, env).states[:: model.frameskip] for e, a in zip(episodes, known) if a is not None]
    problem = problem_of(task, model, episodes, pixels=pixels)
    states = encoded_states(model, env, np.stack(paths)) / problem.unit[:, None]
    with torch.no_grad():
        cost = problem.objective.terminal(states, problem.normalised().goal[:, None]).clamp(min=0).sqrt()
    relative = cost / cost[:, :1].clamp(min=1e-9)
    away = float((cost.diff(dim=1) > 1e-6 * cost[:, :1]).float().mean())
    steps = tuple(range(0, task.horizon + 1, model.frameskip))
    return GoalPaths(
        steps, tuple(tuple(row) for row in relative.tolist()), away, tuple(relative.max(1).values.tolist())
    )
