"""Predictors of models on patch features: a frame-causal transformer over tokens, and a perceptron on whole frames."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.latent.drift import Drift
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.patches.frame_transformer import FrameTransformer, Perceptron

START = 0.02  # standard deviation of initial positions and of the initial weights of the last layers


class TokenPredictor(nn.Module):
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
        for layer in (self.patch_change, self.proprio_change):
            if layer is not None:
                start_at_rest(layer)

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
        return torch.cat([visual, drifted(self.drift, proprio, actions) + self.proprio_change(out[:, :, -1])], dim=-1)


class FramePredictor(nn.Module):
    """Predict the next frame from a whole window at once.

        x = W [frames, action blocks] + b,    x <- x + perceptron_i(x) for each layer i,    y = U norm(x) + c
        patches' = patches + y_patches,    proprio' = A proprio + B a + c + y_proprio

    Patches are not treated alike, so the network can relate any two places of the picture in its first layer.

    Args:
        config: the configuration of the model.

    Attributes:
        shortest: the context, the number of frames that a prediction reads.
    """

    def __init__(self, config: PatchModelConfig) -> None:
        super().__init__()
        self.shortest = config.context
        self.visual = config.visual
        block = config.action_size * config.frameskip
        self.first = nn.Linear(config.context * (config.size + block), config.width)
        self.layers = nn.ModuleList(Perceptron(config.width, config.hidden) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.change = nn.Linear(config.width, config.size)
        self.drift = Drift(config.proprio_size, block)
        start_at_rest(self.change)

    def forward(self, frames: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n 1 s"]:
        """Predict the frame after the last frame."""
        x = self.first(torch.cat([frames.flatten(1), actions.flatten(1)], dim=-1))
        for layer in self.layers:
            x = x + layer(x)
        last = frames[:, -1]
        proprio = drifted(self.drift, last[:, self.visual :], actions[:, -1])
        return (torch.cat([last[:, : self.visual], proprio], dim=-1) + self.change(self.norm(x)))[:, None]


def start_at_rest(layer: nn.Linear) -> None:
    """Initialise a last layer so that hardly any change is predicted at the start."""
    nn.init.normal_(layer.weight, std=START * layer.in_features**-0.5)
    nn.init.zeros_(layer.bias)


def drifted(drift: Drift, proprio: Tensor, actions: Tensor) -> Tensor:
    """The proprioception after the fitted linear part, which keeps its precision in mixed precision."""
    with torch.autocast(proprio.device.type, enabled=False):
        return drift(proprio, actions)
