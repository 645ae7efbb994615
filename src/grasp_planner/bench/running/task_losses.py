"""The losses of planners on a packaged task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planning.protocol import Planner

TIE = 1e-3
"""Largest part of a loss that comes from the cost of the plan. It orders settings with equally many failures."""


@dataclass(frozen=True)
class TaskLosses:
    """The losses of planners on episodes of a packaged task: 1 for a failure in the simulator, and 0 for a success.

    The cost of a plan in the model adds up to 0.001 to its loss, so that settings with equally many failures are
    ordered.

    Args:
        task: the task; its horizon is in environment steps.
        model: the model that plans are made in.
        episodes: validation episodes of the task.

    Example:
        >>> from grasp_planner import GD, load_world_model
        >>> from grasp_planner.bench.tasks import episodes, task
        >>> wall = task("wall", horizon=20)
        >>> losses = TaskLosses(wall, load_world_model("wall-state"), episodes(wall, "validation", 2))
        >>> len(losses(GD(), Budget(steps=2), seed=0))
        2
    """

    task: Task
    model: WorldModel
    episodes: Sequence[Episode]

    def __call__(self, planner: Planner, budget: Budget, seed: int) -> list[float]:
        """Plan all episodes, execute the plans in the simulator, and return the loss of each episode."""
        found = evaluate(self.task, self.model, planner, budget, self.episodes, seed=seed)
        shares = [0.5 + math.atan(cost) / math.pi for cost in found.plan.cost.tolist()]
        return [(not won) + TIE * share for won, share in zip(found.success.tolist(), shares, strict=True)]
