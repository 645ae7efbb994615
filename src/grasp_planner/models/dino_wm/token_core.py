"""DINO-WM's predictor with action tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.patches.frame_transformer import FrameTransformer


class TokenCore(nn.Module):
    """A predictor that appends the embedded action as a token of each frame (``concat_dim: 0`` in the settings).

    Args:
        transformer: the predictor.
        action: module that embeds an action block in the width of a token.
    """

    def __init__(self, transformer: FrameTransformer, action: nn.Linear) -> None:
        super().__init__()
        self.transformer, self.action = transformer, action

    def forward(self, frames: Float[Tensor, "n k p d"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n p d"]:
        """Predict the frame after the last frame. The predicted action token is dropped."""
        return self.transformer(torch.cat([frames, self.action(actions)[:, :, None]], dim=2))[:, -1, :-1]
