"""Functions for planners with virtual states: the initial line, the noise, and the lifted loss."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.constraints import penalty_residuals
from grasp_planner.core.costs import stage_costs, terminal_costs
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import only_the_end_counts
from grasp_planner.core.problem import Problem
from grasp_planner.planners.descent import with_faults, with_gradients
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
    return torch.add(states, coloured(drawn[:, None], beta)[:, 0] if beta > 0 else drawn, alpha=std)


def lifted_loss(
    problem: Problem,
    states: Float[Tensor, "b t_less_1 s"],
    actions: Float[Tensor, "b t a"],
    goal_weight: float,
    stop_gradient: bool,
) -> Float[Tensor, " b"]:
    """Compute GRASP's loss L(s, a) from one model call.

        sum_{t<T-1} |p_t - s_{t+1}|^2 + phi(p_{T-1}, g) + gamma sum_t phi(p_t, g) + sum_t l(s'_t, a_t) + P(s', a)
        p_t = F(sg[s_t], a_t),    s'_0 = s_0,  s'_{t+1} = p_t,    P the squared penalty of a constrained objective

    This is equation 10 if phi is the unweighted goal distance and there is no stage cost. The target of the last
    prediction is g. The objective phi measures the distance to g, so a coordinate with goal weight 0 is free in the
    last prediction, too. For an objective of rewards, phi is the discounted value with a minus sign.
    """
    before = torch.cat([problem.start[:, None], states], dim=1)
    predicted = problem.predict(before.detach() if stop_gradient else before, actions)
    defects = (predicted[:, :-1] - states).square().sum((1, 2))
    distances = terminal_costs(problem, predicted)
    loss = defects + distances[:, -1] + goal_weight * distances.sum(1)
    if only_the_end_counts(problem.objective):
        return loss
    came_from = torch.cat([problem.start[:, None], predicted[:, :-1]], dim=1)
    loss = loss + stage_costs(problem, came_from, actions).sum(1)
    penalty = penalty_residuals(problem, predicted, actions)
    return loss if penalty is None else loss + penalty.square().sum(1)


def lifted_gradients(
    problem: Problem, states: Tensor, actions: Tensor, goal_weight: float, stop_gradient: bool
) -> tuple[Float[Tensor, "b t_less_1 s"], Float[Tensor, "b t a"]]:
    """Compute the gradients of :func:`lifted_loss` with respect to states and actions, with NaN where there is a fault.

        dL/ds_{t+1}  = 2 (s_{t+1} - p_t)
        dL/da_t      = (dp_t/da_t)' dL/dp_t
        dL/dp_t      = 2 (p_t - s_{t+1}) + 2 gamma w (p_t - g),    dL/dp_{T-1} = 2 (1 + gamma) w (p_{T-1} - g)

    These formulas hold for the goal distance without stage cost, if gradients stop at the model's state input. They
    need a third of the operations of automatic differentiation, which is used in the other cases.
    """
    if not (stop_gradient and only_the_end_counts(problem.objective)):

        def loss(actions: Tensor, states: Tensor) -> tuple[Tensor, None]:
            return lifted_loss(problem, states, actions, goal_weight, stop_gradient), None

        (to_actions, to_states), _ = with_gradients(loss, actions, states)
        return to_states, to_actions

    before, goal = torch.cat([problem.states[:, -1:], states], dim=1), problem.goal[:, None]
    with torch.enable_grad():
        actions = actions.detach().requires_grad_()
        predicted = problem.predict(before, actions)
    found = predicted.detach()
    defects, to_goal = found - torch.cat([states, goal], dim=1), found - goal
    if problem.objective.weights is not None:
        weights = problem.objective.weights_like(found)
        to_goal *= weights
        defects[:, -1] *= weights
    to_predicted = torch.add(defects, to_goal, alpha=goal_weight).mul_(2.0)
    (to_actions,) = torch.autograd.grad(predicted, actions, to_predicted)
    zero = torch.linalg.vector_norm(to_predicted, dim=(1, 2), keepdim=True).mul_(0.0)  # NaN where it is not finite
    return -2.0 * defects[:, :-1], with_faults(to_actions, zero)
