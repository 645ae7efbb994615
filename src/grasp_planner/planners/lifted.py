"""Functions for planners with virtual states: the initial line, the noise, and the lifted loss."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import costs_of, only_the_end_counts
from grasp_planner.core.problem import Problem
from grasp_planner.planning.coloured import coloured


def straight_line(problem: Problem, std: float, noise: Noise) -> Float[Tensor, "b t_less_1 s"]:
    """Return s_1 .. s_{T-1} on the line from s_0 to g, plus normal noise of standard deviation ``std``."""
    share = torch.arange(1, problem.horizon, dtype=problem.start.dtype, device=problem.start.device) / problem.horizon
    states = torch.lerp(problem.start[:, None], problem.goal[:, None], share[:, None])
    return states + std * noise.normal(tuple(states.shape[1:]), states.dtype) if std > 0 else states


def diffused(states: Float[Tensor, "b t s"], std: float, beta: float, noise: Noise) -> Float[Tensor, "b t s"]:
    """Add normal noise of standard deviation ``std`` and of power spectrum 1 / f^beta over time to virtual states."""
    if std == 0 or states.shape[1] == 0:
        return states
    drawn = noise.normal(tuple(states.shape[1:]), states.dtype)
    return torch.add(states, coloured(drawn[:, None], beta)[:, 0], alpha=std)


def lifted_loss(
    problem: Problem,
    states: Float[Tensor, "b t_less_1 s"],
    actions: Float[Tensor, "b t a"],
    goal_weight: float,
    stop_gradient: bool,
) -> Float[Tensor, " b"]:
    """Compute GRASP's loss L(s, a) from one model call.

        sum_{t<T-1} |p_t - s_{t+1}|^2 + phi(p_{T-1}, g) + gamma sum_t phi(p_t, g) + sum_t l(s'_t, a_t)
        p_t = F(sg[s_t], a_t),    s'_0 = s_0,  s'_{t+1} = p_t

    This is equation 10 if phi is the unweighted goal distance and there is no stage cost. The target of the last
    prediction is g. The objective phi measures the distance to g, so a coordinate with goal weight 0 is free in the
    last prediction, too.
    """
    before = torch.cat([problem.start[:, None], states], dim=1)
    predicted = problem.predict(before.detach() if stop_gradient else before, actions)
    goal = problem.goal[:, None]
    defects = (predicted[:, :-1] - states).square().sum((1, 2))
    distances = costs_of("terminal", problem.objective.terminal(predicted, goal), predicted)
    loss = defects + distances[:, -1] + goal_weight * distances.sum(1)
    if only_the_end_counts(problem.objective):
        return loss
    came_from = torch.cat([problem.start[:, None], predicted[:, :-1]], dim=1)
    return loss + costs_of("stage", problem.objective.stage(came_from, actions, goal), predicted).sum(1)
