"""The latent of one frame: patch tokens, and the embedded proprioception in every token or as a separate token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True)
class Layout:
    """The composition of a frame's latent.

        in every token:  [ patch_i , proprio, .., proprio ]   i = 1..p     (p, visual + repeats * proprio)
        own token:       patch_1, .., patch_p, proprio                     (p + 1, visual)

    The latent does not contain the action, which is not a property of the frame.

    Args:
        patches: p, number of patch tokens of a picture.
        visual: numbers in a patch token.
        proprio: numbers in an embedding of the proprioception; 0: the model has none.
        repeats: copies of the embedding in each patch token.
    as_token: whether the proprioception is a separate token.
        goal_everywhere: whether the distance to a goal compares the proprioception in every patch token. DINO-WM
            compares the proprioception in the first token only.
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
        """Number of tokens, and numbers in a token."""
        if self.as_token:
            return self.patches + 1, self.visual
        return self.patches, self.visual + self.repeats * self.proprio

    @property
    def size(self) -> int:
        """Numbers in the latent of a frame."""
        return math.prod(self.shape)

    def pack(self, visual: Float[Tensor, "m p v"], proprio: Float[Tensor, "m q"] | None) -> Float[Tensor, "m s"]:
        """Pack embeddings of frames into flat latents.

        Raises:
            GraspPlannerError: the number or the width of the tokens is wrong.
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
        """Compute weights for a squared distance to a goal.

        The weighted sum of squares is p * visual times (mean squared visual distance + alpha * mean squared
        proprioceptive distance). The factor makes the visual weights 1, so that the distance to the goal and a defect
        of the dynamics have the same unit.
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
