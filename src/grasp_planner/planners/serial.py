"""A serial planner at work within another one: for the syncs of GRASP, and for the polish of a best plan."""

from __future__ import annotations

from typing import Any

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, better
from grasp_planner.core.problem import Problem
from grasp_planner.planning.loop import Planner, is_planner
from grasp_planner.planning.meter import BudgetSpent


def best_seen(problem: Problem, planner: Planner, state: Any, steps: int, noise: Noise) -> Scored | None:
    """The best rollout in ``steps`` steps of a planner, its last plan included; ``None`` if it saw none.

    Raises:
        BudgetSpent: nothing could be rolled out any more. A budget that ends later hands on the best so far.
    """
    best: Scored | None = None
    try:
        for j in range(steps):
            state = planner.step(problem, state, noise.fold(j))
            best = _join(best, state.scored)
        return _join(best, planner.finish(problem, state, noise.fold(steps)).scored)
    except BudgetSpent:
        if best is None:
            raise
        return best


def polish_of(problem: Problem, polish: Planner | None, steps: int, best: Scored, noise: Noise) -> Scored | None:
    """The best rollout that a polish sees from the best plan on; ``None`` where there is no polish."""
    return (
        None if polish is None else best_seen(problem, polish, polish.init(problem, best.actions, noise), steps, noise)
    )


def rollouts_to_polish(polish: Planner | None, steps: int) -> int:
    """What ``steps`` steps of a serial planner cost, in units of the horizon."""
    return 0 if polish is None else steps * polish.rollouts_per_step + max(1, polish.rollouts_to_finish)


def check_polish(planner: Any) -> None:
    """Raise unless ``planner.polish`` is a planner or ``None``.

    Raises:
        GraspPlannerError: it is something else.
    """
    if planner.polish is not None and not is_planner(planner.polish):
        raise GraspPlannerError(
            f"{type(planner).__name__}.polish must be None or a planner such as GD(rate=0.05), got {planner.polish!r}"
        )


def _join(first: Scored | None, second: Scored | None) -> Scored | None:
    return second if first is None else first if second is None else better(first, second)
