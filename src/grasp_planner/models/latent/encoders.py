"""From pictures to the visual latent: keypoints, convolutions, a small vision transformer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.models.latent.config import LatentModelConfig

FINEST = 32  # side of the maps on which keypoints are looked for
GROUPS = 8
SMALL = 1e-3
GLIMMER = 1e-7  # of a place that does not differ from the ground: nothing to attend to
ALIKE = 0.3  # how far the maps of keypoints are from each other at first, in shares of their size


def build_encoder(config: LatentModelConfig) -> nn.Module:
    """The encoder that a config asks for: (n, 3, side, side) colours about -0.5 to 0.5 -> (n, latent)."""
    if config.encoder == "keypoints":
        return Keypoints(config.pixels, config.latent // 2, config.channels, config.isotropic)
    if config.encoder == "convolutions":
        return Convolutions(config.pixels, config.latent, config.channels)
    return VisionTransformer(config.pixels, config.latent, config.channels)


class Filters(nn.Module):
    """A convolution whose filters may be the same from four sides and in the mirror.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: side of a filter.
        stride: 1 or 2; with 2, an even kernel keeps the picture's middle in the middle.
        isotropic: average each filter over the eight symmetries of a square.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, isotropic: bool) -> None:
        super().__init__()
        self.stride, self.padding, self.isotropic = stride, (kernel - stride) // 2, isotropic
        bound = (inputs * kernel * kernel) ** -0.5
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        # Averaging shrinks filters; what they pass on should not shrink with every layer.
        bound *= 8**0.5 if isotropic else 1.0
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "n inputs side side"]) -> Float[Tensor, "n outputs fewer fewer"]:
        """The filtered maps."""
        weight = self.weight
        if self.isotropic:
            weight = (weight + weight.transpose(-1, -2)) / 2
            weight = (weight + weight.flip(-1)) / 2
            weight = (weight + weight.flip(-2)) / 2
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Keypoints(nn.Module):
    """Expected image positions: what moves is found by where it is, so the latent is as smooth as the motion.

        m_k = fine_k(f) + enlarged(coarse_k(g(f))),   w_k = softmax over places of beta_k m_k,   p_k = sum w_k (x, y)

    f are features at a quarter of the picture's area, g looks at a wider neighbourhood on a coarser grid, and maps are
    standardised over places before the softmax, so that from the first step a keypoint is drawn to what stands out.
    Coordinates are in halves of the picture's side, (-1, -1) the top left corner. Distances between latents are
    distances in the picture, however far apart.

    Args:
        pixels: side of a picture.
        points: how many.
        channels: of the features.
        isotropic: see ``Filters``; with it a keypoint cannot tell directions, and turns with what it sits on.

    Source: spatial soft-argmax, Levine et al. (arXiv 1504.00702); isotropic filters are ours.
    """

    places: Tensor

    def __init__(self, pixels: int, points: int, channels: int, isotropic: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs, side = 3, pixels
        while side > FINEST:
            layers += [Filters(inputs, channels, 6, 2, isotropic), nn.SiLU()]
            inputs, side = channels, side // 2
        self.features = nn.Sequential(*layers)
        wider = [Filters(channels, channels, 4, 2, isotropic), Filters(channels, channels, 3, 1, isotropic)]
        self.wider = nn.Sequential(wider[0], nn.SiLU(), wider[1], nn.SiLU())
        self.fine, self.coarse = nn.Conv2d(channels, points, 1), nn.Conv2d(channels, points, 1)
        for layer in (self.fine, self.coarse):  # all begin on nearly the same thing, and the loss drives them apart
            with torch.no_grad():
                layer.weight[1:] = layer.weight[:1] + ALIKE * layer.weight[1:]
        self.sharpness = nn.Parameter(torch.full((points,), 2.0))
        line = (torch.arange(side) + 0.5) / side * 2 - 1
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
        self.register_buffer("places", grid.flatten(0, 1), persistent=False)

    def forward(
        self, pictures: Float[Tensor, "n 3 side side"], changes: Float[Tensor, "n 1 side side"] | None = None
    ) -> Float[Tensor, "n latent"]:
        """The places; with ``changes``, how much each pixel differs from the ground, only where it does."""
        features = self.features(pictures)
        fine, coarse = self.fine(features), self.coarse(self.wider(features))
        maps = fine + functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        maps = maps.flatten(2)
        maps = (maps - maps.mean(-1, keepdim=True)) / (maps.std(-1, keepdim=True) + SMALL)
        maps = maps * self.sharpness[:, None]
        if changes is not None:
            maps = maps + (functional.adaptive_avg_pool2d(changes, fine.shape[-2:]).flatten(2) + GLIMMER).log()
        weights = maps.softmax(dim=-1)
        return (weights @ self.places).flatten(1)


class Convolutions(nn.Module):
    """Strided convolutions down to a few places, then a small network: for scenes that are not a few moving things.

    Args:
        pixels: side of a picture.
        latent: numbers in the latent.
        channels: of the first layer; twice as many from the second, four times from the third on.
    """

    def __init__(self, pixels: int, latent: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs, outputs, side = 3, channels, pixels
        while side > 7:
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.GroupNorm(min(GROUPS, outputs), outputs), nn.SiLU()]
            inputs, outputs, side = outputs, min(4 * channels, 2 * outputs), side // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(inputs * side * side, 256), nn.SiLU(), nn.Linear(256, latent))

    def forward(self, pictures: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n latent"]:
        """The latent."""
        return self.head(self.features(pictures).flatten(1))


class VisionTransformer(nn.Module):
    """A small vision transformer: patches of an eighth (64 px) or a fourteenth (224 px) of the side, their mean read.

    Args:
        pixels: side of a picture.
        latent: numbers in the latent.
        width: of a token; a multiple of 32.
        depth: blocks.
    """

    def __init__(self, pixels: int, latent: int, width: int, depth: int = 4) -> None:
        super().__init__()
        patch = 8 if pixels == 64 else 16
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn((pixels // patch) ** 2, width))
        self.blocks = nn.ModuleList(_Block(width, max(1, width // 32)) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, latent))

    def forward(self, pictures: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n latent"]:
        """The latent."""
        tokens = self.patches(pictures).flatten(2).mT + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


class _Block(nn.Module):
    """Attention between tokens, then a network on each, both on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.inputs, self.outputs = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Float[Tensor, "n t w"]) -> Float[Tensor, "n t w"]:
        parts = self.inputs(self.norms[0](tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts)
        tokens = tokens + self.outputs(seen.transpose(1, 2).flatten(2))
        return tokens + self.network(self.norms[1](tokens))
