"""Sequential: run one planner after another, each with a share of the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, between_zero_and_one
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, best_of
from grasp_planner.core.problem import Problem
from grasp_planner.planning.protocol import Planner, check_planner, tolerance_of, virtual_states


class SequentialState(NamedTuple):
    """The state of the running planner, whether the second planner runs, and the best plans seen so far."""

    inner: Any
    in_second: bool
    best: Scored | None


@dataclass(frozen=True)
class Sequential:
    """Run one planner for a share of the budget, then a second planner from the best plan seen.

        while less than 1 - share of the budget is spent:  a step of ``first``
        then:                                              steps of ``second``, which starts at the best plan seen

    A typical use is a planner that explores from many starts, followed by gradient descent from the best plan only.

    Args:
        first: the planner that begins.
        second: the planner that continues from the best plan seen by ``first``.
        share: share of the budget that ``second`` gets, between 0 and 1. If the budget has several limits, the limit
            that is closest to being reached counts. Only ``plan`` tells a planner what is spent; elsewhere, only
            ``first`` runs.
        tolerance: stop a problem whose best cost is at or below this. It is raised to the larger tolerance of the two
            planners.

    Raises:
        GraspPlannerError: ``share`` is out of range, or ``first`` or ``second`` is not a planner.

    Example:
        >>> from grasp_planner import GD, GRASP, MultiStart, Sequential
        >>> planner = Sequential(MultiStart(GRASP(), starts=4), GD(lr=0.05), share=0.15)

    Source: ours. The plan depends on the whole budget, so two short runs do not equal one long run.
    """

    first: Planner
    second: Planner
    share: float = 0.15
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_planner(self, "first")
        check_planner(self, "second")
        between_zero_and_one(self, "share")
        at_least(self, 0, "tolerance")
        tolerance = max(self.tolerance, tolerance_of(self.first), tolerance_of(self.second))
        object.__setattr__(self, "tolerance", tolerance)

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> SequentialState:
        """Initialise the first planner."""
        return SequentialState(self.first.init(problem, actions, noise), in_second=False, best=None)

    def step(self, problem: Problem, state: SequentialState, noise: Noise) -> tuple[SequentialState, Scored | None]:
        """Make a step of the running planner. The second planner begins when its share of the budget is left."""
        inner, in_second, best = state
        if not in_second and problem.spent >= 1 - self.share:
            start = self.first.actions(inner) if best is None else best.actions
            inner, in_second = self.second.init(problem, start, noise.fold(0)), True
        inner, scored = (self.second if in_second else self.first).step(problem, inner, noise.fold(1))
        return SequentialState(inner, in_second, best_of(best, scored)), scored

    def actions(self, state: SequentialState) -> Float[Tensor, "b t a"]:
        """Return the actions of the running planner."""
        return (self.second if state.in_second else self.first).actions(state.inner)

    def virtual(self, state: SequentialState) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states of the running planner; ``None`` if it has no virtual states."""
        return virtual_states(self.second if state.in_second else self.first, state.inner)
