"""The second-order update of LatCo: one damped Gauss-Newton step on states and actions together."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.constraints import unconstrained
from grasp_planner.core.errors import TooLargeError
from grasp_planner.core.objectives import SumOfSquares
from grasp_planner.core.problem import Problem
from grasp_planner.planners.bounded_solve import solve_within_bounds
from grasp_planner.planners.least_squares import sum_of_squares
from grasp_planner.planners.linearisation import linearise
from grasp_planner.planners.penalty_rows import penalty_rows

# The normal equations are dense. This many variables take 32 MB per problem in float64, and about a second to solve.
MOST_VARIABLES = 2048


def check_fits(problem: Problem) -> None:
    """Raise unless the problem is small enough and its cost is a sum of squares.

    Raises:
        TooLargeError: the problem is too large.
        GraspPlannerError: the objective is not a sum of squares.
    """
    variables = problem.horizon * (problem.latent_size + problem.action_size)
    if variables > MOST_VARIABLES:
        raise TooLargeError(
            f"LatCo(method='gauss_newton') solves dense equations in T * (s + a) <= {MOST_VARIABLES} variables, got "
            f"{problem.horizon} * ({problem.latent_size} + {problem.action_size}) = {variables}: "
            "shorten the horizon, or use method='first_order'"
        )
    sum_of_squares(problem, "LatCo(method='gauss_newton')", "method='first_order'")


def gauss_newton_step(
    problem: Problem,
    states: Float[Tensor, "b t s"],
    actions: Float[Tensor, "b t a"],
    multipliers: Float[Tensor, "b t"],
    damping: float,
) -> tuple[Float[Tensor, "b t s"], Float[Tensor, "b t a"], Float[Tensor, "b t"]]:
    """Solve (J'J + damping I) x = -J'r for the stacked residuals r, within the bounds on actions, and move by x.

        r  =  [ sqrt(lambda_t) (F(s_t, a_t) - s_{t+1});   sqrt(w) (s_T - g);   sqrt(l w) (s_t - g);   sqrt(e) a_t;
                the residuals of the penalty for constraints ]

    Returns:
        The new states and actions, and the squared defects ``(b, t)`` of the old states.
    """
    objective = unconstrained(problem.objective)
    assert isinstance(objective, SumOfSquares)  # checked at init
    batch, horizon, latent = states.shape
    defect, slope = _linearised(problem, states, actions)
    root = multipliers.sqrt()

    # Dynamics: rows of J for every step, weighted.
    gradient = torch.einsum("btvx,btv->bx", slope, defect * root[:, :, None].square())
    rows = (slope * root[:, :, None, None]).flatten(1, 2)
    normal = rows.mT @ rows

    # Goal, stage and effort: diagonal.
    weights = objective.weights_like(states)
    share = states.new_full((horizon,), objective.stage_weight)
    share[-1] = 1.0
    on_states = (share[:, None] * weights).expand(batch, -1, -1)
    to_goal = states - problem.goal[:, None]
    on_actions = torch.full_like(actions, objective.effort)
    diagonal = torch.cat([on_states.flatten(1), on_actions.flatten(1)], dim=1)
    gradient = gradient + torch.cat([(on_states * to_goal).flatten(1), (on_actions * actions).flatten(1)], dim=1)
    normal = normal + torch.diag_embed(diagonal + damping)

    penalty = penalty_rows(problem, states, actions)
    if penalty is not None:
        slopes = torch.cat([penalty.by_state.flatten(2), penalty.by_action.flatten(2)], dim=2)
        gradient = gradient + torch.einsum("bkx,bk->bx", slopes, penalty.residual)
        normal = normal + slopes.mT @ slopes

    unbounded = torch.full_like(states, torch.inf).flatten(1)
    lowest = torch.cat([-unbounded, (problem.low - actions).flatten(1)], dim=1)
    highest = torch.cat([unbounded, (problem.high - actions).flatten(1)], dim=1)
    move = solve_within_bounds(normal, -gradient, lowest, highest)
    state_move, action_move = move.split([horizon * latent, actions[0].numel()], dim=1)
    return (
        states + state_move.reshape(states.shape),
        problem.clamp(actions + action_move.reshape(actions.shape)),
        defect.square().sum(-1),
    )


def _linearised(problem: Problem, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the defects ``(b, t, s)`` and their dense Jacobian ``(b, t, s, t*s + t*a)``."""
    batch, horizon, latent = states.shape
    model = linearise(problem, states, actions)
    to_states = states.new_zeros(batch, horizon, latent, horizon, latent)
    to_actions = states.new_zeros(batch, horizon, latent, horizon, actions.shape[2])
    for t in range(horizon):
        for position in range(problem.context):
            column = t - problem.context + 1 + position  # the states of a window are s_{t-h+1} .. s_t; up to s_0 given
            if column >= 1:
                to_states[:, t, :, column - 1] = model.by_state[:, t, :, position]
            if column >= 0:
                to_actions[:, t, :, column] = model.by_action[:, t, :, position]
        to_states[:, t, :, t] -= torch.eye(latent, dtype=states.dtype, device=states.device)
    return model.predicted - states, torch.cat([to_states.flatten(3), to_actions.flatten(3)], dim=3)
