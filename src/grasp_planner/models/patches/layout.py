"""How one frame of a patch model is laid out as a latent: patch tokens, and proprioception beside or among them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True)
class Layout:
    """Patch tokens of a picture with proprioception on every one of them, or as one token more.

        beside:    [ patch_i , proprio, .., proprio ]   i = 1..p     (p, visual + repeats * proprio)
        as token:  patch_1, .., patch_p, proprio                     (p + 1, visual)

    Action slots are no part of it: what is done at a frame is not a property of the frame.

    Args:
        patches: p, tokens of a picture.
        visual: numbers in a patch token.
        proprio: numbers in an embedding of the proprioception; 0: there is none.
        repeats: copies of that embedding on each patch.
        as_token: proprioception is one token more.
        goal_everywhere: a goal compares the proprioception of every patch; otherwise, as DINO-WM does, of the first.
    """

    patches: int
    visual: int
    proprio: int
    repeats: int = 1
    as_token: bool = False
    goal_everywhere: bool = False

    def __post_init__(self) -> None:
        if self.as_token and self.proprio != self.visual:
            raise GraspPlannerError(
                f"proprioception as a token must be as wide as a patch ({self.visual}), got {self.proprio}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens, and numbers in a token."""
        if self.as_token:
            return self.patches + 1, self.visual
        return self.patches, self.visual + self.repeats * self.proprio

    @property
    def size(self) -> int:
        """Numbers in a frame."""
        return math.prod(self.shape)

    def pack(self, visual: Float[Tensor, "m p v"], proprio: Float[Tensor, "m q"] | None) -> Float[Tensor, "m s"]:
        """Embeddings of frames as flat latents.

        Raises:
            GraspPlannerError: the encoder gave tokens of another number or width.
        """
        if tuple(visual.shape[1:]) != (self.patches, self.visual):
            raise GraspPlannerError(
                f"the encoder must give ({self.patches}, {self.visual}) tokens a picture, as the predictor was trained "
                f"on; got {tuple(visual.shape[1:])}"
            )
        if proprio is None:
            return visual.flatten(1)
        if self.as_token:
            return torch.cat([visual, proprio[:, None]], dim=1).flatten(1)
        tiled = proprio.repeat(1, self.repeats)[:, None].expand(-1, self.patches, -1)
        return torch.cat([visual, tiled], dim=2).flatten(1)

    def goal_weights(self, alpha: float) -> Float[Tensor, " s"]:
        """Weights of mean squared visual distance + alpha * mean squared proprioceptive distance, times p * visual.

        The factor makes the visual weights 1, so that a distance to the goal and a defect of the dynamics compare.
        """
        weights = torch.zeros(self.shape)
        weights[: self.patches, : self.visual] = 1.0
        if self.proprio:
            compared = self.patches if self.goal_everywhere and not self.as_token else 1
            each = alpha * self.patches * self.visual / (compared * self.proprio)
            if self.as_token:
                weights[-1] = each
            else:
                weights[:compared, self.visual : self.visual + self.proprio] = each
        return weights.flatten()
