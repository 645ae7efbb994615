"""Many candidate plans per problem: draw candidates around a plan, score candidates, choose the best candidate."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planning.coloured import coloured


def spread(
    problem: Problem,
    actions: Float[Tensor, "b t a"],
    count: int,
    std: float | Tensor,
    noise: Noise,
    noise_beta: float = 0.0,
) -> Float[Tensor, "b n t a"]:
    """Draw ``count`` plans within the bounds: the given plan first, the others normal around it.

    The noise has the power spectrum 1 / f^noise_beta over time.
    """
    others = coloured(noise.normal((count - 1, *actions.shape[1:]), actions.dtype), noise_beta)
    around = actions[:, None] + (std[:, None] if isinstance(std, Tensor) else std) * others
    return torch.cat([actions[:, None], problem.clamp(around)], dim=1)


def evaluate(problem: Problem, candidates: Float[Tensor, "b n t a"]) -> tuple[Float[Tensor, "b n"], Scored]:
    """Return the cost of every candidate (infinite where it is not finite) and the best candidate of each problem."""
    count = candidates.shape[1]
    rolled_out = score(problem.repeat(count), candidates.flatten(0, 1))
    best, _ = best_candidate(rolled_out, count)
    return finite_costs(rolled_out, count), best


def finite_costs(many: Scored, count: int) -> Float[Tensor, "b n"]:
    """Return the costs of the ``count`` scored rows of each problem; infinite where a cost is not finite."""
    cost = many.cost.unflatten(0, (-1, count))
    return torch.where(torch.isfinite(cost), cost, torch.inf)


def best_candidate(many: Scored, count: int) -> tuple[Scored, Int[Tensor, " b"]]:
    """Return the row of least cost among the ``count`` scored rows of each problem, and its position.

    The cost of the chosen row is not finite only if no row of its problem has a finite cost.
    """
    position = finite_costs(many, count).argmin(1)
    return _taken(many, count, position[:, None]), position


def fittest(many: Scored, count: int, survivors: int, offspring: int) -> Scored:
    """Return ``offspring`` rows for each problem: its ``survivors`` best rows of ``count``, best first, repeated."""
    order = finite_costs(many, count).argsort(dim=1, stable=True)
    return _taken(many, count, order[:, torch.arange(offspring, device=order.device) % survivors])


def leading(values: Float[Tensor, "b_n ..."], leader: Int[Tensor, " b"]) -> Float[Tensor, "b ..."]:
    """Take the values of each problem's leader, or of another candidate if those of the leader are not finite."""
    many = values.unflatten(0, (leader.shape[0], -1))
    if many.shape[1] == 1:
        return values
    finite = torch.isfinite(many).flatten(2).all(2)
    position = torch.where(finite.gather(1, leader[:, None])[:, 0], leader, finite.long().argmax(1))
    return many[torch.arange(many.shape[0], device=many.device), position]


def _taken(many: Scored, count: int, positions: Int[Tensor, "b k"]) -> Scored:
    """Return the rows at ``positions`` among the ``count`` rows of each problem."""
    rows = (positions + count * torch.arange(len(positions), device=positions.device)[:, None]).flatten()
    return Scored(many.actions[rows], many.states[rows], many.cost[rows])
