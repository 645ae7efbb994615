"""Probes that show what a latent contains: the environment's state and a picture. They do not train the encoder."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.mlp import MLP

SMALL = 1e-6


class StateProbe(nn.Module):
    """Predict the environment's state from a latent by a small network, with cosine and sine of angles.

    Args:
        latent: numbers in the latent.
        state_size: numbers in the state.
        angles: indices of the numbers that are angles in radians.
        width: units in a hidden layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, latent: int, state_size: int, angles: tuple[int, ...], width: int = 128) -> None:
        super().__init__()
        self.angles = angles
        self.plain = tuple(i for i in range(state_size) if i not in angles)
        self.network = MLP(latent, len(self.plain) + 2 * len(angles), width, 3)
        self.direct = nn.Linear(latent, len(self.plain) + 2 * len(angles))
        self.register_buffer("mean", torch.zeros(len(self.plain)))
        self.register_buffer("std", torch.ones(len(self.plain)))

    def features(self, states: Float[Tensor, "*batch state"]) -> Float[Tensor, "*batch f"]:
        """Return the targets of the network: standardised numbers, then cosines and sines."""
        plain = (states[..., self.plain] - self.mean) / self.std
        turns = states[..., self.angles]
        return torch.cat([plain, turns.cos(), turns.sin()], dim=-1)

    def read(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch f"]:
        """Return the outputs of the network."""
        return self.direct(latents) + self.network(latents)

    def forward(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Predict the state; angles are in [0, 2 pi)."""
        count = len(self.angles)
        plain, cos, sin = self.read(latents).split((len(self.plain), count, count), dim=-1)
        plain = plain * self.std + self.mean
        turns = torch.atan2(sin, cos) % (2 * math.pi)
        order = torch.tensor((*self.plain, *self.angles), device=latents.device).argsort()
        return torch.cat([plain, turns], dim=-1)[..., order]

    @torch.no_grad()
    def fit(self, states: Float[Tensor, "n state"]) -> None:
        """Set mean and standard deviation of the numbers that are not angles."""
        plain = states[..., self.plain].double()
        self.mean.copy_(plain.mean(0))
        self.std.copy_(plain.std(0).clamp(min=SMALL))


class PictureDecoder(nn.Module):
    """Draw a picture from a latent, with 64 x 64 px. For models of 224 px, the picture is enlarged.

    The ground, which is the same in all pictures, is a parameter. Transposed convolutions draw everything else.

    Args:
        latent: numbers in the latent.
        pixels: side of the pictures.
        channels: channels of the widest maps.
    """

    def __init__(self, latent: int, pixels: int, channels: int = 64) -> None:
        super().__init__()
        self.pixels, self.channels = pixels, channels
        self.first = nn.Sequential(MLP(latent, channels * 16, 128, 2), nn.SiLU())
        sizes = [channels, channels // 2, channels // 2, channels // 4]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.SiLU()]
        self.drawing = nn.Sequential(*layers, nn.ConvTranspose2d(sizes[-1], 3, 4, 2, 1))
        self.ground = nn.Parameter(torch.zeros(3, 64, 64))

    def forward(self, latents: Float[Tensor, "n s"]) -> Float[Tensor, "n 3 side side"]:
        """Draw pictures with colours of about 0 to 1."""
        drawn = self.ground + self.drawing(self.first(latents).unflatten(-1, (self.channels, 4, 4)))
        if self.pixels == 64:
            return drawn
        return nn.functional.interpolate(drawn, size=(self.pixels, self.pixels), mode="bilinear")
