"""World models of Wall without training: a dot that moves freely through walls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class FreeDot:
    """latent = position in tens of px; an action block is ``frameskip`` moves of 2 px a unit, as in the environment."""

    context: int = 1
    frameskip: int = 5
    low: Tensor = field(default_factory=lambda: torch.full((10,), -1.8))
    high: Tensor = field(default_factory=lambda: torch.full((10,), 1.8))
    scale: Tensor = field(default_factory=lambda: torch.ones(2))

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        return states[:, -1] + 0.2 * actions[:, -1].unflatten(-1, (self.frameskip, 2)).sum(1)

    def encode(self, observations: Any) -> Tensor:
        return torch.as_tensor(observations["state"], dtype=torch.float32) / 10


@dataclass(frozen=True)
class SeenDot(FreeDot):
    """``FreeDot`` with ``decode_state``. It stores the shapes of the observations that it encodes."""

    seen: list[dict[str, tuple[int, ...]]] = field(default_factory=list)

    def encode(self, observations: Any) -> Tensor:
        self.seen.append({key: tuple(value.shape) for key, value in observations.items()})
        return super().encode(observations)

    def decode_state(self, latents: Tensor) -> Tensor:
        return 10 * latents
