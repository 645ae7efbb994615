"""The rollout loss and the lifted loss on a plane around a plan."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grasp_planner.bench.running.observing import problem_rows
from grasp_planner.core.frozen import frozen
from grasp_planner.core.plans import Budget
from grasp_planner.core.problem import Problem
from grasp_planner.planners.gd import GD
from grasp_planner.planners.lifted import lifted_loss
from grasp_planner.planning.loop import run

GOAL_WEIGHT = 0.1  # gamma of the lifted loss


@dataclass(frozen=True)
class Landscape:
    """Both losses around a plan, along two random directions.

    Attributes:
        at: (k,) positions along each direction, in units of the variables.
        shooting: (k, k) cost of the rollout, as a function of the actions.
        lifted: (k, k) lifted loss, as a function of actions and virtual states.
        horizon: horizon in model steps.
    """

    at: tuple[float, ...]
    shooting: tuple[tuple[float, ...], ...]
    lifted: tuple[tuple[float, ...], ...]
    horizon: int


def landscape(problem: Problem, *, reach: float = 3.0, points: int = 31, seed: int = 0) -> Landscape:
    """Evaluate both losses of the first problem on a square around a plan that GD found.

    Args:
        problem: a batch of problems. Only the first problem is used.
        reach: half the side of the square. Directions have a root mean square of 1 over their variables.
        points: number of points on a side of the square.
        seed: seed of the directions.
    """
    one = problem_rows(problem, slice(1)).normalised()
    actions = run(problem_rows(problem, slice(1)), GD(), Budget(steps=30)).actions
    generator = torch.Generator().manual_seed(seed)
    at = torch.linspace(-reach, reach, points)
    u, v = (grid.flatten()[:, None, None].to(actions) for grid in torch.meshgrid(at, at, indexing="ij"))

    def moved(variable: Tensor) -> Tensor:
        first, second = (torch.randn(variable.shape[1:], generator=generator).to(variable) for _ in range(2))
        return variable + u * first + v * second

    many = one.repeat(points * points)
    with torch.no_grad(), frozen(problem.dynamics, problem.objective):
        there = moved(actions)
        shooting = many.cost(many.rollout(there), there)
        states = one.rollout(actions)[:, :-1]
        lifted = lifted_loss(many, moved(states), there, GOAL_WEIGHT, stop_gradient=True)
    return Landscape(tuple(at.tolist()), _square(shooting, points), _square(lifted, points), one.horizon)


def _square(values: Tensor, side: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.reshape(side, side).tolist())
