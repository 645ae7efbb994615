"""Why a recorded episode failed: the search failed, or the model was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from grasp_planner.bench.analysing.rows import number_text
from grasp_planner.bench.records import ShownRecord
from grasp_planner.bench.tasks import TASKS
from grasp_planner.domains.domain import with_unit

Outcome = Literal["solved", "search failed", "model wrong", "failed"]
"""How an episode ended. ``"failed"``: the task or the rollout in the model is not known, and so is the cause."""


@dataclass(frozen=True)
class JudgedDistance:
    """A distance to the goal after the last step of a plan, which the success rule compares with a limit.

    Args:
        name: name of the distance, which ends on the unit, such as ``position_px``.
        limit: a success needs a distance below this limit.
        simulator: the distance in the simulator; ``None`` if it is not finite.
        model: the distance under the model; ``None`` for models that do not decode states.
    """

    name: str
    limit: float
    simulator: float | None
    model: float | None

    @property
    def quantity(self) -> str:
        """What is measured: the name without the unit."""
        return self.name.partition("_")[0]

    def text(self, value: float | None) -> str:
        """Return a value with the unit.

        >>> JudgedDistance("position_px", 20.0, 61.234, None).text(61.234)
        '61.2 px'
        """
        return "not finite" if value is None else with_unit(self.name, number_text(value))

    def missed(self, value: float | None) -> bool:
        """Return whether a value is not below the limit."""
        return value is None or value >= self.limit


def judged_distances(record: ShownRecord) -> tuple[JudgedDistance, ...]:
    """Return the distances that the success rule of the task judges, as far as the record holds them.

    The result is empty for a task that is not in ``TASKS``.
    """
    task = TASKS.get(record.work.task)
    if task is None:
        return ()
    end = _model_end(record)
    model = {} if end is None else task.distances(end, np.array(record.goal))
    return tuple(
        JudgedDistance(name, limit, record.distances[name], float(model[name]) if model else None)
        for name, limit in task.domain.tolerances.items()
        if name in record.distances
    )


def outcome_of(record: ShownRecord) -> Outcome:
    """Return how a recorded episode ended.

    The search failed if the rollout of the plan in the model does not end at the goal. The model was wrong if this
    rollout ends at the goal and the simulator does not.
    """
    if record.success:
        return "solved"
    task, end = TASKS.get(record.work.task), _model_end(record)
    if task is None or end is None:
        return "failed"
    return "model wrong" if task.success(end, np.array(record.goal)) else "search failed"


def explanation(record: ShownRecord) -> str:
    """Return sentences that say how far from the goal an episode ended, the limits, and why the episode failed.

    For a failed episode, the sentences name only the distances that are not below their limits.
    """
    judged = judged_distances(record)
    told = [
        f"The {one.quantity} is {one.text(one.simulator)} from the goal, and a success needs less than "
        f"{one.text(one.limit)}."
        if one.simulator is not None
        else f"The {one.quantity} is not finite."
        for one in judged
        if record.success or one.missed(one.simulator)
    ]
    outcome = outcome_of(record)
    under_model = " and ".join(f"{one.quantity} {one.text(one.model)}" for one in judged)
    ends = f" ({under_model})" if judged else ""
    if outcome == "search failed":
        told.append(f"Under the model, the plan does not reach the goal either{ends}.")
    elif outcome == "model wrong":
        told.append(f"Under the model, the plan reaches the goal{ends}.")
    elif outcome == "failed":
        why = (
            "the model does not decode states" if record.recording is None else f"no task is called {record.work.task}"
        )
        told.append(f"Whether the search failed or the model was wrong is not known, because {why}.")
    return " ".join(told)


def _model_end(record: ShownRecord) -> np.ndarray | None:
    """Return the last state (s,) of the rollout in the model of the plan that was executed."""
    return None if record.recording is None else np.array(record.recording.rollouts[-1][-1])
