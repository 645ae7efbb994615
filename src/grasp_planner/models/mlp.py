"""Networks inside our models: residual multilayer perceptrons, and sines and cosines of their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = Callable[[Tensor], Tensor]
"""A function from the inputs (n, i) of a network to its outputs (n, o)."""
NewNetwork = Callable[..., nn.Module]
"""A class of networks, called with the sizes of inputs and outputs, the width and the depth."""


class MLP(nn.Module):
    """A residual multilayer perceptron, with smooth activations because planners take its gradients.

        h_1 = silu(W_1 x + b_1),    h_{i+1} = h_i + silu(W_i h_i + b_i),    y = head(V h + c)

    V is small at the start, so that an untrained model predicts almost no change.

    Args:
        inputs: size of x.
        outputs: size of V h.
        width: size of h.
        depth: number of hidden layers.
        head: function of the last layer; ``None``: the identity.
        copies: number of networks of this form, each with weights of its own. One call evaluates all of them in batched
            products and returns (copies, n, outputs). ``None``: a single network.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, head: Network | None = None, copies: int | None = None
    ) -> None:
        super().__init__()
        layer = nn.Linear if copies is None else partial(Linears, copies)
        self.head = head
        self.first = layer(inputs, width)
        self.hidden = nn.ModuleList(layer(width, width) for _ in range(depth - 1))
        self.last = layer(width, outputs)
        nn.init.normal_(self.last.weight, std=0.1 * width**-0.5)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "... outputs"]:
        """Evaluate the network, or all copies of it on the same rows (n, inputs)."""
        x = nn.functional.silu(self.first(x))
        for layer in self.hidden:
            x = x + nn.functional.silu(layer(x))
        return self.last(x) if self.head is None else self.head(self.last(x))


class Linears(nn.Module):
    """Several linear maps of the same sizes, y_k = x_k W_k + b_k, in one batched product.

    Weights and biases have the same initial distribution as those of ``nn.Linear``.

    Args:
        copies: number of maps.
        inputs: size of x_k.
        outputs: size of y_k.

    >>> import torch
    >>> Linears(copies=3, inputs=4, outputs=2)(torch.zeros(5, 4)).shape
    torch.Size([3, 5, 2])
    """

    def __init__(self, copies: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.copies = copies
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(copies, 1, outputs))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5)

    def forward(self, x: Float[Tensor, "*maps n inputs"]) -> Float[Tensor, "copies n outputs"]:
        """Evaluate all maps on the same rows (n, inputs), or each map on rows of its own (copies, n, inputs)."""
        return torch.baddbmm(self.bias, x.expand(self.copies, -1, -1), self.weight)


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
