"""MultiStart: run any planner from many starts in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.checks import at_least, whole
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planning.candidates import best_candidate, leading, spread
from grasp_planner.planning.protocol import Planner, check_planner, tolerance_of, virtual_states


class MultiStartState(NamedTuple):
    """The state of the inner planner, with a row for every start of every problem, and each problem's best start."""

    inner: Any
    leader: Int[Tensor, " b"]


@dataclass(frozen=True)
class MultiStart:
    """Run a planner from several starts per problem in one batch. Each start has its own noise.

        a^1 = the given actions,    a^j ~ clamp(N(a^1, start_std^2)),  j = 2..n
        every step: one step of the inner planner on all n starts;  the plan is the plan of the best start

    One step is one step of the inner planner on b * n rows. The starts do not influence each other.

    Args:
        planner: the inner planner, which sees ``b * starts`` problems.
        starts: n, number of starts per problem.
        start_std: standard deviation of the starts around the given actions, in action units.
        tolerance: stop a problem whose best cost is at or below this. It is raised to the inner planner's tolerance.

    Raises:
        GraspPlannerError: a setting is out of range, or ``planner`` is not a planner.

    Example:
        >>> from grasp_planner import GD, MultiStart
        >>> MultiStart(GD(lr=0.2), starts=8, start_std=2.0).starts
        8

    Source: random restarts are common practice. With GRASP as inner planner, each start is an independent run of GRASP.
    """

    planner: Planner
    starts: int = 16
    start_std: float = 1.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_planner(self, "planner")
        whole(self, 1, "starts")
        at_least(self, 0, "start_std", "tolerance")
        object.__setattr__(self, "tolerance", max(self.tolerance, tolerance_of(self.planner)))

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> MultiStartState:
        """Draw the starts; the first start is at the given actions."""
        starts = spread(problem, actions, self.starts, self.start_std, noise.fold(0)).flatten(0, 1)
        inner = self.planner.init(problem.repeat(self.starts), starts, noise.fold(1).repeat(self.starts))
        return MultiStartState(inner, torch.zeros(problem.batch, dtype=torch.long, device=actions.device))

    def step(self, problem: Problem, state: MultiStartState, noise: Noise) -> tuple[MultiStartState, Scored | None]:
        """Make one step of the inner planner on every start."""
        inner, scored = self.planner.step(problem.repeat(self.starts), state.inner, noise.repeat(self.starts))
        if scored is None:
            return MultiStartState(inner, state.leader), None
        best, leader = best_candidate(scored, self.starts)
        return MultiStartState(inner, leader), best

    def actions(self, state: MultiStartState) -> Float[Tensor, "b t a"]:
        """Return the actions of the start that was best when the starts were last scored."""
        return leading(self.planner.actions(state.inner), state.leader)

    def virtual(self, state: MultiStartState) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states of the best start; ``None`` if the inner planner has no virtual states."""
        states = virtual_states(self.planner, state.inner)
        return None if states is None else leading(states, state.leader)
