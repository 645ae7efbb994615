"""Linear dynamics of the proprioception, fitted to data in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.state.plain import least_squares


class Drift(nn.Module):
    """Linear dynamics of the proprioception in one substep, fitted to data: q' = A q + B u + c.

    Args:
        size: numbers of proprioception; may be 0.
        inputs: numbers in the action of a substep.
    """

    state: Tensor
    action: Tensor
    rest: Tensor

    def __init__(self, size: int, inputs: int) -> None:
        super().__init__()
        self.register_buffer("state", torch.eye(size))
        self.register_buffer("action", torch.zeros(inputs, size))
        self.register_buffer("rest", torch.zeros(size))

    def forward(self, proprio: Float[Tensor, "n q"], action: Float[Tensor, "n u"]) -> Float[Tensor, "n q"]:
        """Predict the proprioception after a substep."""
        return proprio @ self.state + action @ self.action + self.rest

    @torch.no_grad()
    def fit(self, before: Float[Tensor, "n q"], actions: Float[Tensor, "n a"], after: Float[Tensor, "n q"]) -> None:
        """Fit A, B and c to model steps.

        Data can hold observations only at the end of each block of k actions. The linear model maps such a block by

            q_k = q_0 A^k + sum_i u_i B A^(k-1-i) + c (1 + A + .. + A^(k-1))        (rows act from the left)

        The matrix of the last action is B, and A maps the matrix of each action to the matrix of the action before.
        """
        size, inputs = self.state.shape[0], self.action.shape[0]
        if size == 0:
            return
        rows = torch.cat([before, actions, torch.ones_like(before[:, :1])], dim=-1).double()
        whole = least_squares(rows, after.double())
        later = list(whole[size:-1].split(inputs))  # B A^(k-1), .., B A, B
        if len(later) == 1:
            step = whole[:size]
            rest = whole[-1]
        else:
            step = least_squares(torch.cat(later[1:]), torch.cat(later[:-1]))
            powers = [torch.linalg.matrix_power(step, i) for i in range(len(later))]
            rest = torch.linalg.lstsq(torch.stack(powers).sum(0).mT, whole[-1][:, None]).solution[:, 0]
        self.state.copy_(step)
        self.action.copy_(later[-1])
        self.rest.copy_(rest)
