"""``Denoiser``: a conditional diffusion model of a few outputs, which samples in few steps from fixed noise."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.mlp import MLP

LEVELS = 4
"""Number of noise levels; a sample takes as many evaluations of the network."""
SMOOTHING = 0.3
"""Standard deviation of the noise on the inputs of the smoothest version, in units of the inputs."""


class Denoiser(nn.Module):
    """A network that samples outputs y, given inputs c, from a learned distribution p(y | c).

    With noisy outputs x_t = (1 - t) y + t e at the noise levels t = 1, 3/4, 1/2, 1/4 and noisy inputs
    c~ = c + amount * SMOOTHING * n, where e and n are normal, the network learns the mean of y given both:

        D_t(x, c~) = (1 - t) / r^2 x + t / r MLP(c~, x / r, t, amount),    r^2 = (1 - t)^2 + t^2

    A sample begins at x_1 = e. From each level t to the next lower level u, noise is removed:

        x_u = (1 - u / t) D_t(x_t, c) + (u / t) x_t

    The result is D at the last level. It is a function of c and e without further randomness. ``amount`` 0 visits all
    levels, and gives a sample of p(y | c). ``amount`` 1 visits only t = 1. There x says nothing about y and is hidden
    from the network: the result is the mean of y over inputs near c. Numbers between 0 and 1 are rounded to thirds.

    Args:
        inputs: size of c.
        outputs: size of y, which should have mean 0 and variance 1 over the training data.
        width: units in a hidden layer.
        depth: number of hidden layers.

    Source: denoising diffusion (Ho, Jain and Abbeel, 2020) on the straight paths of flow matching (Lipman et al., arXiv
    2210.02747), preconditioned as by Karras et al. (arXiv 2206.00364) and sampled as in DDIM (Song, Meng and Ermon,
    arXiv 2010.02502). Noise on the inputs: conditioning augmentation (Ho et al., arXiv 2106.15282).
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.network = MLP(inputs + outputs + 2, outputs, width, depth)

    def forward(
        self, inputs: Float[Tensor, "n i"], amount: float = 0.0, noise: Float[Tensor, " o"] | None = None
    ) -> Float[Tensor, "n o"]:
        """Sample the outputs from the noise e, which is the same for all rows; ``None``: e = 0."""
        last = round(amount * (LEVELS - 1))
        smoothing = inputs.new_full((len(inputs), 1), last / (LEVELS - 1))
        zero = inputs.new_zeros(self.outputs)
        noisy = (zero if noise is None else noise.to(zero)).expand(len(inputs), -1)
        found = noisy
        for level in range(LEVELS, last, -1):
            found = self.denoised(inputs, noisy, torch.full_like(smoothing, level / LEVELS), smoothing)
            noisy = found + (level - 1) / level * (noisy - found)
        return found

    def denoised(self, inputs: Tensor, noisy: Tensor, level: Tensor, smoothing: Tensor) -> Float[Tensor, "n o"]:
        """Return D_t(x, c~), the mean of the outputs given noisy inputs and noisy outputs.

        ``level`` and ``smoothing`` are (n, 1): the noise level t and the amount of noise on the inputs of each row.
        """
        size = _size(level)
        seen = torch.where(level < 1, noisy / size, 0.0)
        found = self.network(torch.cat([inputs, seen, level, smoothing], dim=-1))
        return (1 - level) / size**2 * noisy + level / size * found

    def loss(
        self, inputs: Float[Tensor, "n i"], outputs: Float[Tensor, "n o"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of the network at random noise levels, which is at most about 1.

        The generator is on the CPU, so that the same seed draws the same numbers on every device.
        """
        uniform = torch.rand((2, len(inputs), 1), generator=generator).to(outputs)
        last = (LEVELS * uniform[0]).floor().clamp(max=LEVELS - 1)
        level = (last + 1 + ((LEVELS - last) * uniform[1]).floor()).clamp(max=LEVELS) / LEVELS
        smoothing = last / (LEVELS - 1)
        drawn = torch.randn((len(inputs), inputs.shape[1] + outputs.shape[1]), generator=generator).to(outputs)
        on_inputs, on_outputs = drawn.split((inputs.shape[1], outputs.shape[1]), dim=-1)
        noisy = (1 - level) * outputs + level * on_outputs
        found = self.denoised(inputs + SMOOTHING * smoothing * on_inputs, noisy, level, smoothing)
        return ((found - outputs) * _size(level) / level).square().mean()


def _size(level: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
    """Return r, the standard deviation of noisy outputs."""
    return ((1 - level).square() + level.square()).sqrt()
