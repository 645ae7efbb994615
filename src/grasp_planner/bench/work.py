"""What was measured: the planner, the task and the settings of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grasp_planner.bench.suites.suite import Mode

CellName = tuple[str, int, str]
"""A column of a table: task, horizon in environment steps, model."""


@dataclass(frozen=True)
class Work:
    """The planner, the task and the settings of a record.

    Args:
        suite: name of the suite.
        task: name of a task of ``bench.tasks.TASKS``.
        horizon: horizon in environment steps.
        model: name or path of the model, as ``load_world_model`` takes it.
        model_hash: hash of the model at the start of the run, see ``model_hash``.
        arm: name of the planner's row in tables.
        mode: open loop or closed loop.
        split: split of the episodes, ``"test"`` or ``"validation"``.
        rollouts: budget of a plan, in rollouts of the model per episode; 0: the budget is in seconds.
        planner: settings of the planner as JSON values, see ``bench.suites.settings``.
        seconds_per_problem: budget of a plan, in seconds per episode; 0: the budget is in rollouts.
    """

    suite: str
    task: str
    horizon: int
    model: str
    model_hash: str
    arm: str
    mode: Mode
    split: str
    rollouts: int
    planner: dict[str, Any]
    seconds_per_problem: float = 0.0

    @property
    def cell(self) -> CellName:
        """Task, horizon and model."""
        return self.task, self.horizon, self.model
