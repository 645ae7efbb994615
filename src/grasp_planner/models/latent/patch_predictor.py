"""The predictor of models on patch features: a frame-causal transformer that predicts changes of tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.latent.drift import Drift
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.patches.frame_transformer import FrameTransformer

START = 0.02  # standard deviation of initial positions and of the initial weights of the last layers


class PatchPredictor(nn.Module):
    """Predict the next frame after each frame of a window.

        x_i = P patch_i + Q proprio + E(a) + position_i       one token per patch, and one for the proprioception
        patch_i' = patch_i + U y_i,    proprio' = A proprio + B a + c + W y_last,    y = transformer(x)

    A token attends to all tokens of its own frame and of earlier frames. Every token reads the proprioception and the
    action block. The linear part of the proprioception is fitted to the data in closed form.

    Args:
        config: the configuration of the model.

    Attributes:
        shortest: 1, the smallest number of frames that a prediction can read.

    Source: the transformer is DINO-WM's (arXiv 2411.04983). Differences: changes are predicted instead of tokens; the
    action is added to tokens instead of concatenated; the proprioception has linear dynamics of its own.
    """

    def __init__(self, config: PatchModelConfig) -> None:
        super().__init__()
        self.shortest = 1
        self.patches, self.components, self.proprio_size = config.patches, config.components, config.proprio_size
        block = config.action_size * config.frameskip
        self.patch = nn.Linear(config.components, config.width)
        self.action = nn.Sequential(
            nn.Linear(block, config.width), nn.GELU(), nn.Linear(config.width, config.width, bias=False)
        )
        proprio = config.proprio_size > 0
        self.proprio = nn.Linear(config.proprio_size, config.width, bias=False) if proprio else None
        self.drift = Drift(config.proprio_size, block)
        self.transformer = FrameTransformer(
            frames=config.context,
            tokens=config.patches + 1,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            head_width=config.width // config.heads,
            hidden=config.hidden,
        )
        self.patch_change = nn.Linear(config.width, config.components)
        self.proprio_change = nn.Linear(config.width, config.proprio_size) if proprio else None
        nn.init.normal_(self.transformer.pos_embedding, std=START)
        for layer in (self.patch_change, self.proprio_change):  # at the start, hardly any change is predicted
            if layer is not None:
                nn.init.normal_(layer.weight, std=START * config.width**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n k s"]:
        """Predict, for each frame, the next frame from this frame and earlier frames, with k from 1 to the context."""
        visual, proprio = frames.split((self.patches * self.components, self.proprio_size), dim=-1)
        patches = visual.unflatten(-1, (self.patches, self.components))
        shared = self.action(actions)
        if self.proprio is not None:
            shared = shared + self.proprio(proprio)
        tokens = self.patch(patches) + shared[:, :, None]
        out = self.transformer(torch.cat([tokens, shared[:, :, None]], dim=2))
        visual = visual + self.patch_change(out[:, :, :-1]).flatten(2)
        if self.proprio_change is None:
            return visual
        with torch.autocast(proprio.device.type, enabled=False):  # the fitted linear part keeps its precision
            moved = self.drift(proprio, actions)
        return torch.cat([visual, moved + self.proprio_change(out[:, :, -1])], dim=-1)
