"""The network inside the state-space models."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """A residual multilayer perceptron with smooth activations, since planners differentiate it.

        h_1 = silu(W_1 x + b_1),    h_{i+1} = h_i + silu(W_i h_i + b_i),    y = V h + c

    V starts small, so that an untrained model predicts hardly any change.

    Args:
        inputs: size of x.
        outputs: size of y.
        width: size of h.
        depth: number of hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, outputs)
        nn.init.normal_(self.last.weight, std=0.1 * width**-0.5)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Y for x."""
        x = nn.functional.silu(self.first(x))
        for layer in self.hidden:
            x = x + nn.functional.silu(layer(x))
        return self.last(x)


def waves(x: Float[Tensor, "*batch n"], octaves: int) -> Float[Tensor, "*batch m"]:
    """``sin`` and ``cos`` of x at wavelengths 8, 4, 2, ..; m = 2 * octaves * n. Contacts are sharp: they need them.

    >>> import torch
    >>> waves(torch.zeros(1, 3), octaves=4).shape
    torch.Size([1, 24])
    """
    phases = (x[..., None] * (math.pi / 4 * 2.0 ** torch.arange(octaves, device=x.device))).flatten(-2)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
