"""Why a recorded episode failed: the search failed, or the model was wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grasp_planner.bench.records import ShownRecord
from grasp_planner.bench.tasks import TASKS, Task

Reason = Literal["solved", "search failed", "model wrong", "failed"]
"""How an episode ended. ``"failed"``: the model's rollout is not known, so the cause is not known either."""


@dataclass(frozen=True)
class GoalDistance:
    """A distance to the goal that the success rule judges, after the last step of a plan.

    Args:
        name: what is measured, without the unit.
        unit: the unit; empty if the distance has none.
        limit: a success needs a distance below this limit.
        simulator: the distance in the simulator; ``None`` if not finite.
        model: the distance under the model; ``None`` if not finite or not known.
    """

    name: str
    unit: str
    limit: float
    simulator: float | None
    model: float | None

    def text(self, value: float | None) -> str:
        """Return a value with the unit.

        >>> GoalDistance("position", "px", 20.0, 61.234, None).text(61.234)
        '61.2 px'
        """
        return "not finite" if value is None else f"{value:.3g} {self.unit}".rstrip()

    def missed(self, value: float | None) -> bool:
        """Return whether a value is not below the limit."""
        return value is None or value >= self.limit


def goal_distances(record: ShownRecord) -> tuple[GoalDistance, ...]:
    """Return the distances that the success rule of the task judges; empty for a task that is not in ``TASKS``."""
    task = TASKS.get(record.work.task)
    if task is None:
        return ()
    end = _model_end(record)
    model = {} if end is None else task.distances(end, np.array(record.goal))
    return tuple(
        GoalDistance(*_name_and_unit(name), limit, record.distances.get(name), _finite(model.get(name)))
        for name, limit in task.domain.tolerances.items()
    )


def reason_of(record: ShownRecord) -> Reason:
    """Return how a recorded episode ended.

    The search failed if the rollout of the plan in the model does not end at the goal. The model was wrong if this
    rollout ends at the goal and the simulator does not.
    """
    task, end = TASKS.get(record.work.task), _model_end(record)
    if record.success:
        return "solved"
    if task is None or end is None:
        return "failed"
    return "model wrong" if _reaches(task, end, record) else "search failed"


def explanation(record: ShownRecord) -> str:
    """Return sentences that say by how much the goal was missed, against which limit, and why."""
    distances = goal_distances(record)
    if record.success:
        return " ".join(
            f"The {one.name} is {one.text(one.simulator)} from the goal; the limit is {one.text(one.limit)}."
            for one in distances
        )
    missed = " ".join(
        f"The {one.name} is {one.text(one.simulator)} from the goal, and a success needs less than "
        f"{one.text(one.limit)}."
        for one in distances
        if one.missed(one.simulator)
    )
    ends = " and ".join(f"{one.name} {one.text(one.model)}" for one in distances)
    why = {
        "search failed": f"The search failed: the plan does not reach the goal under the model either ({ends}).",
        "model wrong": f"The model was wrong: under the model, the plan reaches the goal ({ends}).",
    }
    unknown = "The states of the model are not known, so a failed search and a wrong model cannot be told apart."
    return f"{missed} {why.get(reason_of(record), unknown)}".strip()


def _model_end(record: ShownRecord) -> np.ndarray | None:
    """Return the last state (s,) of the rollout in the model of the plan that was executed."""
    return None if record.recording is None else np.array(record.recording.rollouts[-1][-1])


def _reaches(task: Task, end: np.ndarray, record: ShownRecord) -> bool:
    return bool(task.success(end, np.array(record.goal)))


def _name_and_unit(name: str) -> tuple[str, str]:
    """Split the name of a distance, such as ``position_px``."""
    what, _, unit = name.partition("_")
    return what, unit.replace("_", "/")


def _finite(value: np.ndarray | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
