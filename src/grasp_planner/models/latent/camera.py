"""What a model knows about a camera that does not move: the ground of its pictures, and the place of its own body."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Colour differences, from 0 to 1. A pixel that differs by at most the first is ground; from the second on, it is not.
GROUND, NO_GROUND = 0.05, 0.2


@dataclass(frozen=True)
class Camera:
    """Remove from pictures what a model knows without looking: the ground, and the agent's own body.

    Args:
        pixels: side of the pictures.
        still: whether the ground is subtracted, so that the encoder sees only the difference.
        own_radius: radius of the agent's body, in units of the state; 0: the body is not removed.
        view: the lower and upper edge of the picture in units of the state; ``None``: unknown.

    Example:
        >>> camera = Camera(pixels=4, still=True)
        >>> pictures, changes = camera.seen(torch.ones(2, 3, 4, 4), torch.zeros(3, 4, 4), None)
        >>> pictures.shape, changes.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 1, 4, 4]))
    """

    pixels: int
    still: bool = False
    own_radius: float = 0.0
    view: tuple[float, float] | None = None

    def seen(
        self,
        pictures: Float[Tensor, "n 3 side side"],
        ground: Float[Tensor, "3 side side"],
        proprio: Float[Tensor, "n q"] | None,
    ) -> tuple[Tensor, ...]:
        """Return the inputs of the encoder: the pictures and, if the camera is still, the changes (n, 1, side, side).

        ``proprio`` begins with the agent's position, in halves of the picture's side.
        """
        if self.own_radius and proprio is not None:
            pictures = self._without_itself(pictures, ground, proprio[:, :2])
        if not self.still:
            return (pictures,)
        changes = (pictures - ground).abs().amax(1, keepdim=True)
        changes = ((changes - GROUND) / (NO_GROUND - GROUND)).clamp(0, 1)
        return pictures * changes, changes

    def _without_itself(self, pictures: Tensor, ground: Tensor, places: Tensor) -> Tensor:
        """Replace the agent by the ground; places (n, 2) are in halves of the side."""
        assert self.view is not None
        low, high = self.view
        radius = self.own_radius / (high - low) * self.pixels
        line = torch.arange(self.pixels, device=places.device) + 0.5
        x, y = ((places + 1) / 2 * self.pixels).unbind(-1)
        away = ((line - x[:, None]) ** 2)[:, None] + ((line - y[:, None]) ** 2)[:, :, None]
        covered = (radius + 0.5 - away.sqrt()).clamp(0, 1)[:, None]
        return pictures + covered * (ground - pictures)
