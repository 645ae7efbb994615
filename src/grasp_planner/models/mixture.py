"""A mixture of experts: a gate weighs the predictions of several networks."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.mlp import MLP, Network


class Mixture(nn.Module):
    """Several networks f_k of the same form, and a gate that weighs their outputs.

        y = sum_k g_k f_k(x),    g = softmax(gate(x))

    All experts are evaluated together. The gate has one hidden layer, of the width of the experts.

    Args:
        inputs: size of x.
        outputs: size of the last layer of each expert.
        width: units in a hidden layer.
        depth: number of hidden layers of each expert.
        head: function of the last layer of each expert, see ``mlp.MLP``.
        experts: number of networks.

    >>> import torch
    >>> y, weights = Mixture(inputs=4, outputs=2, width=8, depth=3, experts=3).weighed(torch.zeros(5, 4))
    >>> y.shape, weights.shape
    (torch.Size([5, 2]), torch.Size([5, 3]))
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, head: Network | None = None, *, experts: int
    ) -> None:
        super().__init__()
        self.experts = MLP(inputs, outputs, width, depth, head, copies=experts)
        self.gate = MLP(inputs, experts, width, 1)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Return the weighted sum of the experts' outputs."""
        return self.weighed(x)[0]

    def weighed(self, x: Float[Tensor, "n inputs"]) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n k"]]:
        """Return the weighted sum, and the weights of the k experts."""
        weights = self.gate(x).softmax(dim=-1)
        return (weights.mT.unsqueeze(-1) * self.experts(x)).sum(0), weights
