"""The cost of a plan as a sum of squares, and its Jacobian with respect to the actions of all time steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.constraints import penalty_residuals, term_count, unconstrained
from grasp_planner.core.errors import GraspPlannerError, TooLargeError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import SumOfSquares
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.linearisation import linearise
from grasp_planner.planners.penalty_rows import penalty_rows
from grasp_planner.wrappers.compiled import differentiable_again


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
    """Return the objective of a problem, without its constraints. The objective must be a sum of squares.

    Args:
        problem: the problem.
        planner: the planner that needs a sum of squares.
        instead: what to use for another cost.

    Raises:
        GraspPlannerError: the objective is no :class:`~grasp_planner.core.objectives.SumOfSquares`.
    """
    objective = unconstrained(problem.objective)
    if not isinstance(objective, SumOfSquares):
        raise GraspPlannerError(
            f"{planner} needs a cost that is a sum of squares, such as GoalDistance, got "
            f"{type(objective).__name__}: use {instead}"
        )
    return objective


def residuals(problem: Problem, objective: SumOfSquares, states: Float[Tensor, "b t s"]) -> Float[Tensor, "b r s"]:
    """Return the differences from the goal whose squares sum to the cost without effort.

        r_T = sqrt(w) (s_T - g),    r_t = sqrt(stage_weight w) (s_t - g)  for t = 1 .. T-1

    Without a stage cost, r_T is the only row. The stage cost of s_0 is constant, and left out.
    """
    weighted = (states - problem.goal[:, None]) * objective.weights_like(states).sqrt()
    if objective.stage_weight == 0.0:
        return weighted[:, -1:]
    return torch.cat([weighted[:, :-1] * objective.stage_weight**0.5, weighted[:, -1:]], dim=1)


def all_residuals(
    problem: Problem, objective: SumOfSquares, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, "b k"]:
    """Return the residuals of the objective, followed by those of the penalty for constraints."""
    to_goal = residuals(problem, objective, states).flatten(1)
    penalty = penalty_residuals(problem, states, actions)
    return to_goal if penalty is None else torch.cat([to_goal, penalty], dim=1)


def check_memory(problem: Problem, objective: SumOfSquares, products: int, limit: int) -> None:
    """Raise if the matrices of a linearisation need more memory than the limit.

    Args:
        problem: the problem.
        objective: its objective.
        products: see :func:`linearised`.
        limit: largest size of the matrices A_t, B_t and J of all problems together, in bytes.

    Raises:
        TooLargeError: as described.
    """
    latent, variables = problem.latent_size, problem.horizon * problem.action_size
    numbers = products * variables
    if latent <= products:
        rows = latent * (problem.horizon if objective.stage_weight > 0 else 1) + term_count(problem)
        window = problem.context * (latent + problem.action_size)
        numbers = rows * (variables + rows) + problem.horizon * latent * (window + rows)
    needed = numbers * problem.batch * problem.start.element_size()
    if needed > limit:
        raise TooLargeError(
            f"GaussNewton needs {needed:,} bytes for the Jacobians of {problem.batch} plans of {problem.horizon} "
            f"steps, and memory_limit is {limit:,}: plan for fewer problems or starts at a time, raise memory_limit, "
            f"or set products below the {latent} coordinates of a latent"
        )


def linearised(problem: Problem, objective: SumOfSquares, plan: Scored, products: int, noise: Noise) -> LeastSquares:
    """Linearise the residuals at a rollout: exactly, or for latents wider than ``products`` in that many directions."""
    if problem.latent_size <= products:
        return exact(problem, objective, plan.states, plan.actions)
    return sketched(problem, objective, plan.actions, products, noise)


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
    residual, penalty = residual.flatten(1), penalty_rows(problem, states, actions)
    if penalty is not None:
        residual = torch.cat([residual, penalty.residual], dim=1)
        rows, by_action = torch.cat([rows, penalty.by_state], 1), torch.cat([by_action, penalty.by_action], 1)
    for t in reversed(range(horizon)):
        for position in range(context):
            earlier = t - context + 1 + position  # the window of step t holds s and a of the times t-h+1 .. t
            if earlier >= 1:
                rows[:, :, earlier - 1] += rows[:, :, t] @ model.by_state[:, t, :, position]
            if earlier >= 0:
                by_action[:, :, earlier] += rows[:, :, t] @ model.by_action[:, t, :, position]
    return LeastSquares(residual, by_action.flatten(2))


def sketched(
    problem: Problem, objective: SumOfSquares, actions: Float[Tensor, "b t a"], products: int, noise: Noise
) -> LeastSquares:
    """Linearise k combinations of the residuals: V'r and V'J, with k products through one rollout.

    The columns of V are orthonormal: the residual's own direction first, then random directions.
    """
    with torch.enable_grad():
        leaf = actions.detach().requires_grad_()
        residual = all_residuals(problem, objective, problem.rollout(leaf), leaf)
    own = residual.detach()
    random = noise.normal((own.shape[1], products - 1), own.dtype)
    directions, _ = torch.linalg.qr(torch.cat([own[:, :, None], random], dim=2))
    rows = []
    for k in range(products):
        with differentiable_again():
            (row,) = torch.autograd.grad(residual, leaf, directions[:, :, k], retain_graph=k + 1 < products)
        rows.append(row.flatten(1))
    return LeastSquares((directions.mT @ own[:, :, None])[:, :, 0], torch.stack(rows, dim=1), directions)
