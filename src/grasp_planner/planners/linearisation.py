"""The derivatives of the model at every time step, from one parallel model call."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.problem import Problem
from grasp_planner.wrappers.compiled import differentiable_again


class Linearisation(NamedTuple):
    """One-step predictions from given states, and their derivatives with respect to the windows that the model reads.

    Attributes:
        predicted: F(s_t, a_t) for every t.
        by_state: the derivative of coordinate v of prediction t by the states of its window, [b, t, v, h, s]: A_t.
        by_action: the same by the actions of its window, [b, t, v, h, a]: B_t.
    """

    predicted: Float[Tensor, "b t s"]
    by_state: Float[Tensor, "b t s h s"]
    by_action: Float[Tensor, "b t s h a"]


def linearise(problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]) -> Linearisation:
    """Linearise all steps that lead from s_0, s_1, .. s_{T-1} to s_1 .. s_T.

    One model call on b * T rows, and a vector-Jacobian product of it for each of the s coordinates. The derivatives of
    a step whose prediction is not finite are NaN, so that the loop detects the fault.

    Args:
        problem: the normalised problem.
        states: s_1 .. s_T. The last state is not needed, and not read.
        actions: a_0 .. a_{T-1}.
    """
    batch, horizon, latent = states.shape
    before = torch.cat([problem.start[:, None], states[:, :-1]], dim=1)
    windows, blocks = (part.detach().requires_grad_() for part in problem.windows(before, actions))
    with torch.enable_grad():
        predicted = problem.one_step(windows, blocks)
    by_state, by_action = [], []
    for v in range(latent):
        pick = torch.zeros_like(predicted)
        pick[:, v] = 1.0
        with differentiable_again():
            to_windows, to_blocks = torch.autograd.grad(
                predicted, (windows, blocks), pick, retain_graph=v + 1 < latent, materialize_grads=True
            )
        by_state.append(to_windows)
        by_action.append(to_blocks)
    shape = (batch, horizon)
    found = predicted.detach().unflatten(0, shape)
    fault = (found * 0.0).sum(-1)[:, :, None, None, None]
    return Linearisation(
        found,
        torch.stack(by_state, dim=1).unflatten(0, shape) + fault,
        torch.stack(by_action, dim=1).unflatten(0, shape) + fault,
    )
