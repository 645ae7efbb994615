"""Networks inside our models: a residual multilayer perceptron, and sines and cosines of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = Callable[[Tensor], Tensor]
"""A function from the inputs (n, i) of a network to its outputs (n, o)."""


class MLP(nn.Module):
    """A residual multilayer perceptron, with smooth activations because planners take its gradients.

        h_1 = silu(W_1 x + b_1),    h_{i+1} = h_i + silu(W_i h_i + b_i),    y = V h + c

    V is small at the start, so that an untrained model predicts almost no change.

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
        """Evaluate the network."""
        x = nn.functional.silu(self.first(x))
        for layer in self.hidden:
            x = x + nn.functional.silu(layer(x))
        return self.last(x)


class Waves(nn.Module):
    """Sines and cosines of coordinates at wavelengths 8, 4, 2, .., which help a network with sharp contacts.

    Args:
        inputs: number of coordinates.
        octaves: number of wavelengths; 0: the result is empty.

    >>> import torch
    >>> Waves(inputs=3, octaves=4)(torch.zeros(1, 3)).shape
    torch.Size([1, 24])
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, inputs: int, octaves: int) -> None:
        super().__init__()
        self.outputs = 2 * inputs * octaves
        rates = math.pi / 4 * 2.0 ** torch.arange(octaves)
        matrix = torch.kron(torch.eye(inputs), rates[None])  # one product and one sine for all wavelengths
        self.register_buffer("frequencies", torch.cat([matrix, matrix], dim=1), persistent=False)
        phases = torch.cat([torch.zeros(inputs * octaves), torch.full((inputs * octaves,), math.pi / 2)])
        self.register_buffer("phases", phases, persistent=False)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Evaluate the sines and cosines of each row."""
        return torch.addmm(self.phases, x, self.frequencies).sin()
