"""Damped Gauss-Newton steps within bounds, and the correction of a Jacobian by a rollout that was made."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.objectives import SumOfSquares
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.bounded_solve import within_bounds
from grasp_planner.planners.least_squares import LeastSquares, all_residuals


def with_secant(
    problem: Problem,
    objective: SumOfSquares,
    cost: LeastSquares,
    tried: Scored,
    move: Float[Tensor, "b t a"],
    accepted: Bool[Tensor, " b"],
) -> LeastSquares:
    """Correct the Jacobian so that it predicts the residual of a rollout that was made (Broyden's update).

        J <- J + (r(a + d) - r(a) - J d) d' / |d|^2

    Where the rollout was accepted, its residual becomes the residual of the linearisation.

    Args:
        problem: the normalised problem.
        objective: its objective.
        cost: the linearisation at a.
        tried: the rollout of a + d.
        move: d.
        accepted: the problems whose plan is now a + d.
    """
    residual = all_residuals(problem, objective, tried.states, tried.actions)
    if cost.directions is not None:
        residual = (cost.directions.mT @ residual[:, :, None])[:, :, 0]
    d = move.flatten(1)
    missed = residual - cost.residual - (cost.jacobian @ d[:, :, None])[:, :, 0]
    update = missed[:, :, None] * (d / d.square().sum(1, keepdim=True).clamp(min=torch.finfo(d.dtype).tiny))[:, None]
    # A move so small that its error is mostly rounding says nothing about J.
    informative = missed.square().sum(1) > torch.finfo(d.dtype).eps * residual.square().sum(1)
    sound = informative & torch.isfinite(update).flatten(1).all(1)
    return LeastSquares(
        torch.where(accepted[:, None], residual, cost.residual),
        torch.where(sound[:, None, None], cost.jacobian + update, cost.jacobian),
        cost.directions,
    )


def damped_step(
    problem: Problem,
    cost: LeastSquares,
    effort: float,
    actions: Float[Tensor, "b t a"],
    damping: Float[Tensor, " b"],
) -> Float[Tensor, "b t a"]:
    """Return actions a + d within the bounds, where d minimises |r + J d|^2 + effort |a + d|^2 + lambda |d|^2.

        d = -c a - J'(J J' + (lambda + effort) I)^-1 (r - c J a),    c = effort / (lambda + effort)

    lambda is the damping times the mean of the diagonal of J J'. Actions beyond a bound are fixed on the bound, and the
    step of the other actions is solved for again, so that they make up for it.
    """
    flat = actions.flatten(1)
    lowest, highest = (problem.low - actions).flatten(1), (problem.high - actions).flatten(1)
    tiny = torch.finfo(flat.dtype).tiny ** 0.5
    ridge = damping * cost.jacobian.square().sum((1, 2)) / cost.residual.shape[1] + tiny
    total = ridge + effort
    pull = (effort / total)[:, None]

    def solved(held: Tensor, at: Tensor) -> Tensor:
        free = ~held
        jacobian = cost.jacobian * free[:, None]
        rest = cost.residual + (cost.jacobian @ at[:, :, None])[:, :, 0]
        towards_zero = -pull * flat * free
        rest = rest + (jacobian @ towards_zero[:, :, None])[:, :, 0]
        normal = jacobian @ jacobian.mT
        normal.diagonal(dim1=1, dim2=2).add_(total[:, None])
        weights, _ = torch.linalg.solve_ex(normal, rest)  # singular: its own problem only
        return torch.where(held, at, towards_zero - (jacobian.mT @ weights[:, :, None])[:, :, 0])

    move = within_bounds(solved, lowest, highest, rounds=3)
    return problem.clamp(actions + move.reshape(actions.shape))
