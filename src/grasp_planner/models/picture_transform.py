"""Transforms of camera pictures to the input of a published encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Pictures:
    """Resize the shorter side, crop the centre, normalise, and resize again if the encoder takes another size.

    Args:
        size: side of the cropped picture, in pixels.
        mean: mean of each colour, on a scale from 0 to 1.
        std: standard deviation of each colour, on the same scale.
        encoder_size: side of the encoder's input, in pixels; ``None``: ``size``. DINO-WM crops at 224 and encodes at
            196.

    Raises:
        GraspPlannerError: a size is not a positive integer.

    Example:
        >>> import numpy as np
        >>> Pictures(size=14)(np.zeros((2, 3, 28, 28, 3), np.uint8), torch.zeros(())).shape
        torch.Size([6, 3, 14, 14])

    Source: the transforms of DINO-WM (torchvision 0.18: bilinear, antialiased), without the need for torchvision.
    """

    size: int = 224
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    encoder_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "encoder_size"):
            value = getattr(self, name)
            if (name == "size" or value is not None) and (type(value) is not int or value < 1):
                raise GraspPlannerError(f"Pictures.{name} must be an integer >= 1, got {value!r}")

    def __call__(self, pixels: Any, like: Tensor) -> Float[Tensor, "b_h 3 side side"]:
        """Prepare pictures.

        Args:
            pixels: (b, h, height, width, 3) uint8.
            like: tensor of the dtype and on the device of the result.

        Raises:
            GraspPlannerError: the pictures have another shape or dtype.
        """
        given = torch.as_tensor(pixels)
        if given.ndim != 5 or given.shape[-1] != 3 or given.dtype != torch.uint8:
            raise GraspPlannerError(
                f"observations['pixels'] must be uint8 (b, h, height, width, 3), got {given.dtype} {tuple(given.shape)}"
            )
        frames = given.flatten(0, 1).movedim(-1, 1).to(like) / 255.0
        frames = _cut(_resized(frames, self.size), self.size)
        mean, std = frames.new_tensor(self.mean)[:, None, None], frames.new_tensor(self.std)[:, None, None]
        return _resized((frames - mean) / std, self.encoder_size or self.size)


def _resized(frames: Tensor, side: int) -> Tensor:
    """Resize the shorter side to ``side`` pixels, and the longer side in proportion."""
    height, width = frames.shape[-2:]
    if min(height, width) == side:
        return frames
    shorter = min(height, width)
    size = (int(side * height / shorter), int(side * width / shorter))
    return functional.interpolate(frames, size=size, mode="bilinear", antialias=True)


def _cut(frames: Tensor, side: int) -> Tensor:
    """Crop the central ``side`` x ``side`` pixels."""
    top, left = (round((n - side) / 2.0) for n in frames.shape[-2:])
    return frames[..., top : top + side, left : left + side]
