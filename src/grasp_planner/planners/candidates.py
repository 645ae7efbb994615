"""Many candidate plans a problem: drawing them around a plan, scoring them, choosing among them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem


def spread(
    problem: Problem, actions: Float[Tensor, "b t a"], count: int, std: float | Tensor, noise: Noise
) -> Float[Tensor, "b n t a"]:
    """``count`` plans within the bounds: the given one first, the others normal around it."""
    others = noise.normal((count - 1, *actions.shape[1:]), actions.dtype)
    around = actions[:, None] + (std[:, None] if isinstance(std, Tensor) else std) * others
    return torch.cat([actions[:, None], problem.clamp(around)], dim=1)


def evaluate(problem: Problem, candidates: Float[Tensor, "b n t a"]) -> tuple[Float[Tensor, "b n"], Scored]:
    """The cost of every candidate (infinite where it is not finite) and the best one a problem."""
    count = candidates.shape[1]
    rolled_out = score(problem.repeat(count), candidates.flatten(0, 1))
    cost = rolled_out.cost.unflatten(0, (-1, count))
    best, _ = best_candidate(rolled_out, count)
    return torch.where(torch.isfinite(cost), cost, torch.inf), best


def best_candidate(many: Scored, count: int) -> tuple[Scored, Int[Tensor, " b"]]:
    """Of ``count`` scored rows a problem the one of least cost, and its place; not finite only where none is."""
    cost = many.cost.unflatten(0, (-1, count))
    place = torch.where(torch.isfinite(cost), cost, torch.inf).argmin(1)
    row = torch.arange(cost.shape[0], device=cost.device) * count + place
    return Scored(many.actions[row], many.states[row], many.cost[row]), place


def leading(actions: Float[Tensor, "b_n t a"], leader: Int[Tensor, " b"]) -> Float[Tensor, "b t a"]:
    """Each problem's leader; where its actions are not finite, the first candidate whose actions are."""
    many = actions.unflatten(0, (leader.shape[0], -1))
    if many.shape[1] == 1:
        return actions
    sound = torch.isfinite(many).flatten(2).all(2)
    place = torch.where(sound.gather(1, leader[:, None])[:, 0], leader, sound.long().argmax(1))
    return many[torch.arange(many.shape[0], device=many.device), place]


def elites(
    candidates: Float[Tensor, "b n t a"], cost: Float[Tensor, "b n"], count: int
) -> tuple[Float[Tensor, "b e t a"], Float[Tensor, "b e 1 1"]]:
    """The ``count`` cheapest candidates, and weights that sum to one and leave out those of infinite cost."""
    kept = min(count, cost.shape[1])
    lowest, place = torch.topk(cost, kept, dim=1, largest=False)
    chosen = torch.take_along_dim(candidates, place[:, :, None, None], dim=1)
    finite = torch.isfinite(lowest).to(candidates.dtype)
    weights = finite / finite.sum(1, keepdim=True).clamp(min=1)
    return chosen, weights[:, :, None, None]


def weighted_moments(
    chosen: Float[Tensor, "b e t a"], weights: Float[Tensor, "b e 1 1"]
) -> tuple[Float[Tensor, "b t a"], Float[Tensor, "b t a"]]:
    """Mean and standard deviation of candidates under weights that sum to one."""
    mean = (weights * chosen).sum(1)
    variance = (weights * (chosen - mean[:, None]).square()).sum(1)
    return mean, variance.sqrt()
