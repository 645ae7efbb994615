"""The cost of a trajectory from the costs of an objective, and what an objective sees of the states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.constraints import penalised
from grasp_planner.core.objectives import costs_of, discount_of, only_the_end_counts

if TYPE_CHECKING:
    from grasp_planner.core.problem import Problem


def trajectory_cost(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, " b"]:
    """Return the cost of s_1 .. s_T and a_0 .. a_{T-1}, with discount and with the penalty for constraints.

    Args:
        problem: the normalised problem.
        states: s_1 .. s_T, in units of the scale.
        actions: a_0 .. a_{T-1}.
    """
    objective, end = problem.objective, states[:, -1]
    terminal = costs_of("terminal", objective.terminal(seen(problem, end), problem.goal), end)
    if only_the_end_counts(objective):
        return terminal
    stages = stage_costs(problem, torch.cat([problem.start[:, None], states[:, :-1]], dim=1), actions)
    ending = discounted(problem, terminal[:, None], first=states.shape[1])[:, 0]
    return penalised(problem, stages.sum(1) + ending, states, actions)


def terminal_costs(problem: Problem, states: Float[Tensor, "b t s"]) -> Float[Tensor, "b t"]:
    """Return the cost of ending in each of the states s_1 .. s_T of a normalised problem, with discount."""
    costs = costs_of("terminal", problem.objective.terminal(seen(problem, states), problem.goal[:, None]), states)
    return discounted(problem, costs, first=1)


def stage_costs(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, "b t"]:
    """Return the cost of each step from s_0 .. s_{T-1} of a normalised problem, with discount."""
    costs = costs_of("stage", problem.objective.stage(seen(problem, states), actions, problem.goal[:, None]), states)
    return discounted(problem, costs, first=0)


def seen(problem: Problem, states: Tensor) -> Tensor:
    """Return states ``(b, s)`` or ``(b, t, s)`` of a normalised problem as its objective sees them.

    Objectives of rewards see the model's own units, and other objectives see units of the scale.
    """
    if discount_of(problem.objective) is None:
        return states
    return states * (problem.unit if states.ndim == 2 else problem.unit[:, None])


def discounted(problem: Problem, costs: Float[Tensor, "b k"], first: int) -> Float[Tensor, "b k"]:
    """Multiply the costs of the times ``first``, ``first + 1``, .. by discount^t; unchanged without a discount."""
    discount = discount_of(problem.objective)
    if discount is None or discount == 1.0:
        return costs
    times = torch.arange(first, first + costs.shape[1], dtype=costs.dtype, device=costs.device)
    return costs * discount**times
