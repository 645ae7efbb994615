"""The residuals of the penalty for constraints and their Jacobian, for second-order planners."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.constraints import penalty_residuals
from grasp_planner.core.problem import Problem


class PenaltyRows(NamedTuple):
    """The residuals of the penalty, and their derivatives by s_1 .. s_T and by a_0 .. a_{T-1}."""

    residual: Float[Tensor, "b k"]
    by_state: Float[Tensor, "b k t s"]
    by_action: Float[Tensor, "b k t a"]


def penalty_rows(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> PenaltyRows | None:
    """Differentiate the residuals of the penalty by states and actions, as separate variables.

    The model is not evaluated. A residual of 0 is inactive: its derivatives are 0, whatever autograd returns.

    Returns:
        The rows; ``None`` if the problem has no constraints.
    """
    with torch.enable_grad():
        leaves = states.detach().requires_grad_(), actions.detach().requires_grad_()
        found = penalty_residuals(problem, *leaves)
        if found is None:
            return None
        totals = found.sum(0).unbind()  # problems are independent
    slopes = [leaf.new_zeros(*found.shape, *leaf.shape[1:]) for leaf in leaves]
    active = found.detach() != 0
    rows = active.any(0).nonzero()[:, 0].tolist() if found.requires_grad else []
    for k in rows:
        parts = torch.autograd.grad(totals[k], leaves, retain_graph=True, materialize_grads=True)
        for slope, part in zip(slopes, parts, strict=True):
            slope[:, k] = torch.where(active[:, k, None, None], part, 0.0)
    return PenaltyRows(found.detach(), slopes[0], slopes[1])
