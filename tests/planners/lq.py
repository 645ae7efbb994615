"""Linear-quadratic problems whose optimum is a linear system, solved here by normal equations."""

from __future__ import annotations

import torch
from torch import Tensor

import toys
from grasp_planner import GoalDistance, Problem


def problem(
    batch: int = 3, horizon: int = 6, *, effort: float = 0.05, stage: float = 0.1, bound: float = 50.0
) -> Problem:
    """s' = A s + B a with stage cost and effort; bounds so wide that none is active."""
    objective = GoalDistance(weights=(1.0, 0.5, 2.0), stage_weight=stage, effort=effort)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    return toys.problem(batch, horizon, toys.linear(), objective=objective, scale=scale, bound=50.0)


def optimum(lq: Problem) -> tuple[Tensor, Tensor]:
    """The actions (b, t, a) of least cost, and that cost (b,)."""
    a, b = toys.matrices()
    objective, horizon, size = lq.objective, lq.horizon, b.shape[1]
    root = torch.as_tensor(objective.weights).double().sqrt() / lq.scale
    # s_k = A^k s_0 + G_k a for the stacked actions a.
    reach = [torch.zeros(3, horizon * size, dtype=torch.float64)]
    for t in range(horizon):
        following = a @ reach[-1]
        following[:, t * size : (t + 1) * size] += b
        reach.append(following)
    shares = [objective.stage_weight] * horizon + [1.0]
    tall = torch.cat([share**0.5 * root[:, None] * g for share, g in zip(shares, reach)])
    tall = torch.cat([tall, objective.effort**0.5 * torch.eye(horizon * size, dtype=torch.float64)])
    actions = []
    for start, goal in zip(lq.start, lq.goal):
        free, rest = start, []
        for share in shares:
            rest.append(share**0.5 * root * (goal - free))
            free = a @ free
        rest.append(torch.zeros(horizon * size, dtype=torch.float64))
        solution = torch.linalg.solve(tall.T @ tall, tall.T @ torch.cat(rest))
        actions.append(solution.reshape(horizon, size))
    best = torch.stack(actions)
    return best, toys.cost_by_hand(lq, best)
