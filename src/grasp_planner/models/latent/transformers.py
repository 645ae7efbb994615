"""The parts of a model of LeWM's kind: a vision transformer, and a predictor whose layers are modulated by actions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.jepa_wms.adaln_predictor import ModulatedTransformer
from grasp_planner.models.latent.config import HEAD, LatentModelConfig
from grasp_planner.models.latent.drift import Drift
from grasp_planner.models.latent.patch_predictor import START, drifted, start_at_rest
from grasp_planner.models.patches.frame_transformer import FrameTransformer

SIDE = 8  # patches along a side of the picture


class PictureTransformer(nn.Module):
    """A vision transformer: strided convolutions make 8 x 8 tokens, and a further token reads the picture.

        z = W y_0,    (y_0, ..) = transformer(first, conv(picture)_1, .., conv(picture)_64)

    Args:
        config: ``channels`` is the width of a token, ``layers`` the number of layers.

    Source: the encoder of LeWorldModel. Differences: convolutions in place of one linear map per patch, which train in
    fewer steps; no batch normalisation after the last layer.
    """

    goal_weight = 1.0

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        width, stages = config.channels, 3
        layers: list[nn.Module] = []
        inputs, side = 3, config.pixels
        for stage in range(stages):
            outputs = width // 2 ** (stages - 1 - stage)
            kernel = 4 if stage or side == SIDE * 2**stages else 14  # 224 px: the first stride is 7
            stride = 2 if kernel == 4 else 7
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, (kernel - stride + 1) // 2), nn.GELU()]
            inputs = outputs
        self.stem = nn.Sequential(*layers[:-1])
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.transformer = FrameTransformer(
            frames=1,
            tokens=SIDE * SIDE + 1,
            width=width,
            depth=config.layers,
            heads=width // HEAD,
            head_width=HEAD,
            hidden=4 * width,
        )
        nn.init.normal_(self.transformer.pos_embedding, std=START)
        self.head = nn.Linear(width, config.latent)

    def forward(self, pictures: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n latent"]:
        """Encode pictures."""
        tokens = self.stem(pictures).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.head(self.transformer(tokens[:, None])[:, 0, 0])


class Modulated(nn.Module):
    """Predict the next latent by a transformer over frames, whose layers are shifted, scaled and gated by actions.

        z' = z + W y_h,    q' = A q + B a + c + V y_h,    (y_1, .., y_h) = transformer(z_1, .., z_h; a_1, .., a_h)

    A frame attends to itself and to earlier frames. Every layer begins as the identity.

    Args:
        config: the configuration of the model.

    Attributes:
        shortest: the context, the number of frames that a prediction reads.

    Source: adaptive layer normalisation as in the predictor of LeWorldModel. Differences: changes are predicted instead
    of latents; the proprioception has linear dynamics of its own; positions are rotary, as in JEPA-WMs.
    """

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        self.shortest, self.visual = config.context, config.latent
        block = config.action_size * config.frameskip
        self.drift = Drift(config.proprio_size, block)
        self.transformer = ModulatedTransformer(
            side=1,
            visual=config.size,
            proprio=0,
            action=block,
            width=config.width,
            depth=config.depth,
            heads=config.width // HEAD,
            causal=True,
        )
        self.transformer.begin_as_identity()
        start_at_rest(self.transformer.predictor_proj)

    def forward(self, frames: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n 1 s"]:
        """Predict the latents after the last frame."""
        change = self.transformer(frames[:, :, None], actions)[:, 0]
        visual, proprio = frames[:, -1].split((self.visual, frames.shape[-1] - self.visual), dim=-1)
        return (torch.cat([visual, drifted(self.drift, proprio, actions[:, -1])], dim=-1) + change)[:, None]
