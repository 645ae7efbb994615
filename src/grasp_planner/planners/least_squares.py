"""The cost of a plan as a sum of squares, its Jacobian with respect to the actions, and damped steps within bounds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import SumOfSquares
from grasp_planner.core.problem import Problem
from grasp_planner.planners.linearisation import linearise
from grasp_planner.wrappers.compiled import differentiable_again

# How often actions beyond their bounds are fixed on the bounds, and the step of the other actions is solved for again.
_BOUND_ROUNDS = 3


class LeastSquares(NamedTuple):
    """A cost |r + J d|^2 + effort |a + d|^2 of changed actions a + d, to first order in d.

    Attributes:
        residual: r; its squared norm is the cost without effort.
        jacobian: J, by the actions of all time steps.
        directions: the orthonormal directions V of a sketch, whose residual is V'r; ``None``: r is the whole residual.
    """

    residual: Float[Tensor, "b k"]
    jacobian: Float[Tensor, "b k x"]
    directions: Float[Tensor, "b r k"] | None = None


def sum_of_squares(problem: Problem, planner: str, instead: str) -> SumOfSquares:
    """Return the objective of a problem, which must be a sum of squares.

    Args:
        problem: the problem.
        planner: the planner that needs a sum of squares.
        instead: what to use for another cost.

    Raises:
        GraspPlannerError: the objective is no :class:`~grasp_planner.core.objectives.SumOfSquares`.
    """
    if not isinstance(problem.objective, SumOfSquares):
        raise GraspPlannerError(
            f"{planner} needs a cost that is a sum of squares, such as GoalDistance, got "
            f"{type(problem.objective).__name__}: use {instead}"
        )
    return problem.objective


def residuals(problem: Problem, objective: SumOfSquares, states: Float[Tensor, "b t s"]) -> Float[Tensor, "b r s"]:
    """Return the differences from the goal whose squares sum to the cost without effort.

        r_T = sqrt(w) (s_T - g),    r_t = sqrt(stage_weight w) (s_t - g)  for t = 1 .. T-1

    Without a stage cost, r_T is the only row. The stage cost of s_0 is constant, and left out.
    """
    weighted = (states - problem.goal[:, None]) * objective.weights_like(states).sqrt()
    if objective.stage_weight == 0.0:
        return weighted[:, -1:]
    return torch.cat([weighted[:, :-1] * objective.stage_weight**0.5, weighted[:, -1:]], dim=1)


def exact(
    problem: Problem, objective: SumOfSquares, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> LeastSquares:
    """Linearise the residuals at a rollout, with the whole Jacobian.

        dr/ds_t  =  direct part + sum over the later steps whose window holds s_t of  dr/ds_{t'+1} A_{t'}
        dr/da_t  =  sum over the steps whose window holds a_t of  dr/ds_{t'+1} B_{t'}

    One parallel call gives A_t and B_t of every step; the recursion from T down to 1 multiplies small matrices only.
    """
    batch, horizon, latent = states.shape
    context = problem.context
    model = linearise(problem, states, actions)
    residual = residuals(problem, objective, states)
    count = residual.shape[1]
    size = objective.weights_like(states).sqrt()
    rows = states.new_zeros(batch, count * latent, horizon, latent)  # dr/ds_{t+1}
    by_action = states.new_zeros(batch, count * latent, horizon, problem.action_size)
    for i in range(count):
        t = horizon - count + i
        weight = 1.0 if t == horizon - 1 else objective.stage_weight**0.5
        rows[:, i * latent : (i + 1) * latent, t] = torch.diag(size * weight)
    for t in reversed(range(horizon)):
        for position in range(context):
            earlier = t - context + 1 + position  # the window of step t holds s and a of the times t-h+1 .. t
            if earlier >= 1:
                rows[:, :, earlier - 1] += rows[:, :, t] @ model.by_state[:, t, :, position]
            if earlier >= 0:
                by_action[:, :, earlier] += rows[:, :, t] @ model.by_action[:, t, :, position]
    return LeastSquares(residual.flatten(1), by_action.flatten(2))


def sketched(
    problem: Problem, objective: SumOfSquares, actions: Float[Tensor, "b t a"], products: int, noise: Noise
) -> LeastSquares:
    """Linearise k combinations of the residuals: V'r and V'J, with k products through one rollout.

    The columns of V are orthonormal: the residual's own direction first, then random directions.
    """
    with torch.enable_grad():
        leaf = actions.detach().requires_grad_()
        residual = residuals(problem, objective, problem.rollout(leaf)).flatten(1)
    own = residual.detach()
    random = noise.normal((own.shape[1], products - 1), own.dtype)
    directions, _ = torch.linalg.qr(torch.cat([own[:, :, None], random], dim=2))
    rows = []
    for k in range(products):
        with differentiable_again():
            (row,) = torch.autograd.grad(residual, leaf, directions[:, :, k], retain_graph=k + 1 < products)
        rows.append(row.flatten(1))
    return LeastSquares((directions.mT @ own[:, :, None])[:, :, 0], torch.stack(rows, dim=1), directions)


def with_secant(
    problem: Problem,
    objective: SumOfSquares,
    cost: LeastSquares,
    states: Float[Tensor, "b t s"],
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
        states: the rollout of a + d.
        move: d.
        accepted: the problems whose plan is now a + d.
    """
    residual = residuals(problem, objective, states).flatten(1)
    if cost.directions is not None:
        residual = (cost.directions.mT @ residual[:, :, None])[:, :, 0]
    d = move.flatten(1)
    missed = residual - cost.residual - (cost.jacobian @ d[:, :, None])[:, :, 0]
    update = missed[:, :, None] * (d / d.square().sum(1, keepdim=True).clamp(min=torch.finfo(d.dtype).tiny))[:, None]
    # A move so small that its error is mostly rounding says nothing about J.
    heard = missed.square().sum(1) > torch.finfo(d.dtype).eps * residual.square().sum(1)
    sound = heard & torch.isfinite(update).flatten(1).all(1)
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
    held, at = torch.zeros_like(flat, dtype=torch.bool), torch.zeros_like(flat)
    move = at
    for _ in range(_BOUND_ROUNDS):
        free = ~held
        jacobian = cost.jacobian * free[:, None]
        rest = cost.residual + (cost.jacobian @ at[:, :, None])[:, :, 0]
        towards_zero = -pull * flat * free
        rest = rest + (jacobian @ towards_zero[:, :, None])[:, :, 0]
        normal = jacobian @ jacobian.mT
        normal.diagonal(dim1=1, dim2=2).add_(total[:, None])
        solved, _ = torch.linalg.solve_ex(normal, rest)  # singular: its own problem only
        move = torch.where(held, at, towards_zero - (jacobian.mT @ solved[:, :, None])[:, :, 0])
        beyond = (move < lowest) | (move > highest)
        if not bool(beyond.any()):
            break
        held = held | beyond
        at = torch.where(beyond, move.clamp(lowest, highest), at)
    return problem.clamp(actions + move.reshape(actions.shape))
