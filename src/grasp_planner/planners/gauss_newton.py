"""GaussNewton: Levenberg-Marquardt on the actions, with the model linearised at all time steps in one parallel call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, whole
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import SumOfSquares
from grasp_planner.core.plans import Scored, chosen, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.damped_steps import damped_step, with_secant
from grasp_planner.planners.least_squares import LeastSquares, check_memory, linearised, sum_of_squares

# Limits of the damping, far beyond what helps: at 1e8 a step is a hundred-millionth of a gradient step to the goal.
_LEAST_DAMPING, _MOST_DAMPING = 1e-8, 1e8


def _squares(problem: Problem) -> SumOfSquares:
    return sum_of_squares(problem, "GaussNewton", "GD() if the cost is differentiable, or CEM()")


class GaussNewtonState(NamedTuple):
    """The accepted plan with its rollout, the proposal, the damping, and which half of an iteration comes next.

    Attributes:
        accepted: the last accepted plan. Its cost is infinite before the first rollout.
        proposal: the actions that are rolled out next, or that were rolled out last.
        damping: lambda of each problem, relative to the mean of the diagonal of J J'.
        cost: r and J at the accepted plan; ``None`` before the first linearisation.
        left: rollouts that remain before the next linearisation.
    """

    accepted: Scored
    proposal: Float[Tensor, "b t a"]
    damping: Float[Tensor, " b"]
    cost: LeastSquares | None
    left: int


@dataclass(frozen=True)
class GaussNewton:
    """Minimise a sum of squares by damped Gauss-Newton steps (Levenberg-Marquardt) on the actions.

        roll out a: s_1 .. s_T
        A_t = dF/ds, B_t = dF/da at (s_t, a_t) for all t, in one parallel model call
        r = the residuals, J = dr/da from products of A_t and B_t
        d = -J'(J J' + lambda I)^-1 r, within the bounds on a + d
        roll out a + d; if the cost falls:  a <- a + d,  lambda <- accepted * lambda;  else  lambda <- rejected * lambda

    A linearisation is a step, which is one parallel call on b * T rows; its s vector-Jacobian products are not counted
    as transitions. It is followed by ``rollouts`` rollouts, each of which is a step. Between these, J is corrected
    by the rollout that was made (Broyden's update), which is much cheaper than a linearisation.

    Args:
        damping: initial lambda, relative to the mean of the diagonal of J J'.
        accepted: factor of lambda after a step that lowers the cost.
        rejected: factor of lambda after a step that does not lower the cost.
        rollouts: number of rollouts after each linearisation. Between them, J is corrected.
        products: latents of at most this many coordinates are linearised exactly. Wider latents are linearised in
            ``products`` directions of the residual, with that many vector-Jacobian products through a rollout.
        memory_limit: largest size of the matrices A_t, B_t and J of all problems together, in bytes.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range; or, when planning, the objective is not a sum of squares, or the
            matrices need more memory than ``memory_limit``.

    Example:
        >>> from grasp_planner import GaussNewton, MultiStart
        >>> planner = MultiStart(GaussNewton(), starts=16, start_std=2.0)

    Source: Levenberg (1944) and Marquardt (1963). The linearisation in parallel over time is ours; it is the
    Gauss-Newton step of iterative LQR (Li and Todorov, 2004) for small residuals and long plans.
    """

    damping: float = 0.03
    accepted: float = 0.3
    rejected: float = 4.0
    rollouts: int = 6
    products: int = 16
    memory_limit: int = 2**30
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "tolerance")
        at_least(self, 1e-8, "damping", "accepted")
        at_least(self, 1, "rejected")
        whole(self, 1, "rollouts", "products", "memory_limit")
        if self.accepted > 1:
            raise GraspPlannerError(f"GaussNewton.accepted must be at most 1, got {self.accepted}")

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> GaussNewtonState:
        """Propose the given actions."""
        check_memory(problem, _squares(problem), self.products, self.memory_limit)
        cost = torch.full_like(problem.start[:, 0], torch.inf)
        nothing = Scored(actions, actions.new_zeros(*actions.shape[:2], problem.latent_size), cost)
        return GaussNewtonState(nothing, actions, torch.full_like(cost, self.damping), cost=None, left=1)

    def step(self, problem: Problem, state: GaussNewtonState, noise: Noise) -> tuple[GaussNewtonState, Scored | None]:
        """Roll the proposal out; or, after the rollouts of a linearisation, linearise the accepted plan again."""
        objective = _squares(problem)
        if state.left > 0:
            return self.roll_out(problem, objective, state)
        return self.linearise(problem, objective, state, noise), None

    def roll_out(
        self, problem: Problem, objective: SumOfSquares, state: GaussNewtonState
    ) -> tuple[GaussNewtonState, Scored]:
        """Roll the proposal out, and accept it if its cost is lower. Propose again if more rollouts remain."""
        tried = score(problem, state.proposal)
        rounding = 8 * torch.finfo(tried.cost.dtype).eps
        falls = tried.cost < state.accepted.cost * (1 - rounding)
        accepted, left = chosen(falls, tried, state.accepted), state.left - 1
        if state.cost is None:
            return state._replace(accepted=accepted, left=left), tried
        factor = torch.where(falls, self.accepted, self.rejected).to(state.damping)
        damping = (state.damping * factor).clamp(_LEAST_DAMPING, _MOST_DAMPING)
        if left == 0:
            return state._replace(accepted=accepted, damping=damping, left=0), tried
        move = state.proposal - state.accepted.actions
        cost = with_secant(problem, objective, state.cost, tried, move, falls)
        proposal = damped_step(problem, cost, objective.effort, accepted.actions, damping)
        return GaussNewtonState(accepted, proposal, damping, cost, left), tried

    def linearise(
        self, problem: Problem, objective: SumOfSquares, state: GaussNewtonState, noise: Noise
    ) -> GaussNewtonState:
        """Linearise the accepted plan, and propose the damped Gauss-Newton step."""
        cost = linearised(problem, objective, state.accepted, self.products, noise)
        proposal = damped_step(problem, cost, objective.effort, state.accepted.actions, state.damping)
        return state._replace(proposal=proposal, cost=cost, left=self.rollouts)

    def actions(self, state: GaussNewtonState) -> Float[Tensor, "b t a"]:
        """Return the proposal."""
        return state.proposal
