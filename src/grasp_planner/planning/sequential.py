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
from grasp_planner.wrappers.smoothable import UNSMOOTHED, smoothed


class SequentialState(NamedTuple):
    """The state of the running planner, whether the second planner runs, and the best plans of the first planner."""

    inner: Any
    in_second: bool
    best: Scored | None


@dataclass(frozen=True)
class Sequential:
    """Run one planner for a share of the budget, then a second planner from the best plan seen.

        while less than 1 - share of the budget is spent:  a step of ``first``
        then:                                              steps of ``second``, which starts at the best plan seen

    A typical use is a planner that explores from many starts, followed by gradient descent from the best plan only.

    With ``smoothing`` above 0, ``first`` plans in a smoother version of the model, where there are fewer local minima.
    The costs of this version are not costs of the model, so only ``second`` improves the best plan of the loop. A model
    without smoother versions is not changed.

    Args:
        first: the planner that begins.
        second: the planner that continues from the best plan seen by ``first``.
        share: share of the budget that ``second`` gets, between 0 and 1. If the budget has several limits, the limit
            that is closest to being reached counts. Only ``plan`` tells a planner what is spent; elsewhere, only
            ``first`` runs.
        smoothing: the version of the model in which ``first`` plans, from 0 (the model itself) to 1 (its smoothest
            version).
        tolerance: stop a problem whose best cost is at or below this. It is raised to the larger tolerance of the two
            planners.

    Raises:
        GraspPlannerError: ``share`` or ``smoothing`` is out of range, or ``first`` or ``second`` is not a planner.

    Example:
        >>> from grasp_planner import GD, GRASP, MultiStart, Sequential
        >>> planner = Sequential(MultiStart(GRASP(), starts=4), GD(lr=0.05), share=0.15)
        >>> annealed = Sequential(GRASP(), GRASP(), share=0.5, smoothing=1.0)

    Source: ours. The plan depends on the whole budget, so two short runs do not equal one long run.
    """

    first: Planner
    second: Planner
    share: float = 0.15
    smoothing: float = UNSMOOTHED
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_planner(self, "first")
        check_planner(self, "second")
        between_zero_and_one(self, "share", "smoothing")
        at_least(self, 0, "tolerance")
        tolerance = max(self.tolerance, tolerance_of(self.first), tolerance_of(self.second))
        object.__setattr__(self, "tolerance", tolerance)

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> SequentialState:
        """Initialise the first planner."""
        return SequentialState(self.first.init(self.smoother(problem), actions, noise), in_second=False, best=None)

    def step(self, problem: Problem, state: SequentialState, noise: Noise) -> tuple[SequentialState, Scored | None]:
        """Make a step of the running planner. The second planner begins when its share of the budget is left."""
        inner, in_second, best = state
        if not in_second and problem.spent >= 1 - self.share:
            start = self.first.actions(inner) if best is None else best.actions
            inner, in_second = self.second.init(problem, start, noise.fold(0)), True
        if in_second:
            inner, scored = self.second.step(problem, inner, noise.fold(1))
            return SequentialState(inner, in_second, best), scored
        smoother = self.smoother(problem)
        inner, scored = self.first.step(smoother, inner, noise.fold(1))
        return SequentialState(inner, in_second, best_of(best, scored)), scored if smoother is problem else None

    def smoother(self, problem: Problem) -> Problem:
        """Return the problems in the version of the model in which the first planner plans."""
        dynamics = smoothed(problem.dynamics, self.smoothing)
        return problem if dynamics is problem.dynamics else problem.through(dynamics)

    def actions(self, state: SequentialState) -> Float[Tensor, "b t a"]:
        """Return the actions of the running planner."""
        return (self.second if state.in_second else self.first).actions(state.inner)

    def virtual(self, state: SequentialState) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states of the running planner; ``None`` if it has no virtual states."""
        return virtual_states(self.second if state.in_second else self.first, state.inner)
