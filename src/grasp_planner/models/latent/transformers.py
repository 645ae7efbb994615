"""The parts of a model of LeWM's kind: a vision transformer, and a predictor whose layers are modulated by actions."""

from __future__ import annotations

from itertools import chain, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from grasp_planner.models.jepa_wms.adaln_predictor import ModulatedTransformer
from grasp_planner.models.latent.config import HEAD, LatentModelConfig
from grasp_planner.models.latent.drift import Drift
from grasp_planner.models.latent.patch_predictor import START, drifted, start_at_rest
from grasp_planner.models.patches.frame_transformer import FrameTransformer

SIDE = 4  # tokens along a side of the picture
GROUP = 8  # channels that are normalised together
HALVED = (3, 2, 1)  # how often the width is halved in the first layers


class PictureTransformer(nn.Module):
    """A vision transformer: convolutions make 4 x 4 tokens, and one linear map reads all tokens.

        z = normalised(W [y_1, .., y_16]),    y = transformer(convolutions(picture))

    Batch normalisation gives each latent coordinate mean 0 and standard deviation 1 from the first optimiser step on.
    Without it, this encoder collapses: SIGReg has almost no gradient at a latent that hardly varies.

    Args:
        config: ``channels`` is the width of a token, ``layers`` the number of layers.

    Source: the encoder of LeWorldModel, which also ends with batch normalisation. Differences: normalised
    convolutions in place of one linear map per patch, which train in fewer steps; the latent is read from all tokens
    and not from a further token, so that an untrained encoder already distinguishes places.
    """

    goal_weight = 1.0

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        width, stride = config.channels, config.pixels // (SIDE * 2 ** len(HALVED))
        first, *others = (GROUP * max(2, width // GROUP >> shift) for shift in (*HALVED, 0))
        self.stem = nn.Sequential(
            *_layer(3, first, stride),
            *chain.from_iterable(_layer(before, after, 2) for before, after in pairwise((first, *others))),
            nn.Conv2d(width, width, 1),
        )
        self.transformer = FrameTransformer(
            frames=1,
            tokens=SIDE * SIDE,
            width=width,
            depth=config.layers,
            heads=width // HEAD,
            head_width=HEAD,
            hidden=4 * width,
        )
        nn.init.normal_(self.transformer.pos_embedding, std=START)
        self.head = nn.Linear(SIDE * SIDE * width, config.latent)
        self.normalised = nn.BatchNorm1d(config.latent, affine=False)

    def forward(self, pictures: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n latent"]:
        """Encode pictures."""
        tokens = self.stem(pictures).flatten(2).mT
        with sdpa_kernel(SDPBackend.MATH):  # for 16 tokens, faster on a CPU than the fused kernel
            tokens = self.transformer(tokens[:, None])
        with torch.autocast(tokens.device.type, enabled=False):  # latents keep their precision
            return self.normalised(self.head(tokens.to(self.head.weight).flatten(1)))


def _layer(before: int, after: int, stride: int) -> tuple[nn.Module, ...]:
    """Return a convolution that divides the side of a picture by ``stride``, with normalisation and activation."""
    return nn.Conv2d(before, after, 2 * stride - 1, stride, stride - 1), nn.GroupNorm(after // GROUP, after), nn.GELU()


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
