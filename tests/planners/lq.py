"""A linear-quadratic problem whose optimum is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

import toys
from grasp_planner import GoalDistance, Problem
from grasp_planner.models.linear_quadratic import LinearQuadratic

MODEL = LinearQuadratic(*toys.matrices())


def problem(batch: int = 3, horizon: int = 6, *, effort: float = 0.05, stage: float = 0.1) -> Problem:
    """Make problems s' = A s + B a with stage cost and effort, and with bounds that are never active."""
    objective = GoalDistance(weights=(1.0, 0.5, 2.0), stage_weight=stage, effort=effort)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    return toys.problem(batch, horizon, MODEL, objective=objective, scale=scale, bound=50.0)


def optimum(lq: Problem) -> tuple[Tensor, Tensor]:
    """Return the actions (b, t, a) of least cost, and their cost (b,), which is checked by hand."""
    actions, cost = MODEL.optimum(lq)
    torch.testing.assert_close(cost, toys.cost_by_hand(lq, actions))
    return actions, cost
