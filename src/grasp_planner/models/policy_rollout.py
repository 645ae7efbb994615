"""Roll out a policy in the model of planning problems, so that its actions are a plan."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.problem import Problem
from grasp_planner.core.surroundings import planning_mode


def policy_rollout(problem: Problem, act: Callable[[Tensor, int], Tensor], *modules: object) -> Float[Tensor, "b t a"]:
    """Return the actions of a policy along its own rollout, which are within the bounds.

        a_t = clamp(act(s_t, T - t)),    s_{t+1} = F(s_{t-h+1:t}, a_{t-h+1:t}),    t = 0 .. T-1

    A number of an action that is not finite is replaced with zero before the action is clamped.

    Args:
        problem: the problems.
        act: the policy, a function of latents (b, s) in the model's own units and of the number of model steps that are
            left, from T to 1. It returns model actions (b, a).
        modules: networks of the policy, which are held in evaluation mode like the model.
    """
    taken, actions = problem.past_actions, []
    with planning_mode(problem.states.device, problem.dynamics, *modules):
        # A normalised problem keeps the states in the model's own units in `history`. A model may write to its input.
        window = (problem.states if problem.history is None else problem.history).clone()
        for left in range(problem.horizon, 0, -1):
            action = problem.clamp(torch.nan_to_num(act(window[:, -1], left), nan=0.0, posinf=0.0, neginf=0.0))
            actions.append(action)
            if left > 1:  # the state after the last action is not needed
                taken = torch.cat([taken, action[:, None]], dim=1)
                state = problem.call(window, taken)
                window, taken = torch.cat([window[:, 1:], state[:, None]], dim=1), taken[:, 1:]
        return torch.stack(actions, dim=1)
