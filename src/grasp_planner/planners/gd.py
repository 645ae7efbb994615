"""GD: gradient descent on the actions through the whole rollout (shooting)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.candidates import best_candidate, leading, spread
from grasp_planner.planners.checks import at_least, one_of, whole
from grasp_planner.planners.descent import Moments, Optimiser, descend, with_gradients


class GDState(NamedTuple):
    """Actions of every start, Adam's moments, and the actions that were rolled out last, with their cost."""

    actions: Float[Tensor, "b_n t a"]
    moments: Moments
    leader: Tensor
    scored: Scored | None


@dataclass(frozen=True)
class GD:
    """Gradient descent on the rollout's cost, back-propagated through all T steps.

        a <- clamp(a - rate * d J(a) / da + noise),     J(a) = cost of the true rollout of a

    Args:
        rate: step size; with ``"adam"`` in action units a step, with ``"sgd"`` times the gradient of the cost.
        optimiser: ``"adam"`` or ``"sgd"``.
        action_noise: standard deviation of normal noise added to the actions after each step, in action units.
        starts: independent descents a problem; the first begins at the given actions, the others around them.
        start_std: spread of those others, in action units.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range.

    Example:
        >>> from grasp_planner import GD
        >>> GD(rate=0.05, starts=8).starts
        8

    Source: the gradient planner of DINO-WM (arXiv 2411.04983; plain SGD, rate 1 on a *mean* of squares, noise 0.003,
    one normal start). Differences: costs are sums in units of the problem's scale, actions stay within bounds, the
    best rollout is kept, and the simulator is never asked.
    """

    rate: float = 0.05
    optimiser: Optimiser = "adam"
    action_noise: float = 0.0
    starts: int = 1
    start_std: float = 1.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "rate", "action_noise", "start_std", "tolerance")
        whole(self, 1, "starts")
        one_of(self, "optimiser", ("adam", "sgd"))

    @property
    def rollouts_per_step(self) -> int:
        """One rollout a start."""
        return self.starts

    @property
    def rollouts_to_finish(self) -> int:
        """The last iterates are not scored yet."""
        return self.starts

    @property
    def serial_rollouts_to_finish(self) -> int:
        """One, of all at once."""
        return 1

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> GDState:
        """Every start near the given actions, the first one at them."""
        starts = spread(problem, actions, self.starts, self.start_std, noise).flatten(0, 1)
        leader = torch.zeros(problem.batch, dtype=torch.long, device=actions.device)
        return GDState(starts, Moments.zeros(starts), leader, None)

    def step(self, problem: Problem, state: GDState, noise: Noise) -> GDState:
        """One descent step; the rollout that the gradient needed also scores the actions it started from."""
        many = problem.repeat(self.starts)

        def cost(actions: Tensor) -> tuple[Tensor, Scored]:
            states = many.rollout(actions)
            total = many.cost(states, actions)
            return total, Scored(state.actions, states.detach(), total.detach())

        (gradient,), rolled_out = with_gradients(cost, state.actions)
        actions, moments = descend(self.optimiser, self.rate, state.actions, gradient, state.moments)
        if self.action_noise > 0:
            shape = (self.starts, *actions.shape[1:])
            actions = actions + self.action_noise * noise.normal(shape, actions.dtype).flatten(0, 1)
        scored, leader = best_candidate(rolled_out, self.starts)
        return GDState(many.clamp(actions), moments, leader, scored)

    def finish(self, problem: Problem, state: GDState, noise: Noise) -> GDState:
        """Score the last iterates."""
        scored, leader = best_candidate(score(problem.repeat(self.starts), state.actions), self.starts)
        return state._replace(scored=scored, leader=leader)

    def actions(self, state: GDState) -> Float[Tensor, "b t a"]:
        """The current actions of the start that was best when last scored."""
        return leading(state.actions, state.leader)
