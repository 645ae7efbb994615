"""Encoders from pictures to the visual latent: keypoints and convolutions; and the choice among all encoders."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.latent.patch_encoder import PatchEncoder
from grasp_planner.models.latent.transformers import PictureTransformer

FINEST = 32  # side of the maps on which keypoints are found
GROUPS = 8
SMALL = 1e-3
NO_CHANGE = 1e-7  # value for a place that does not differ from the ground, so that its weight is not exactly 0
SPREAD = 0.3  # initial difference between the maps of the keypoints, relative to their size


class Filters(nn.Module):
    """A convolution whose filters can be made symmetric under quarter turns and mirroring.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: side of a filter.
        stride: 1 or 2. With 2, an even kernel keeps the centre of the picture in the centre.
        isotropic: whether each filter is averaged over the eight symmetries of a square.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, isotropic: bool) -> None:
        super().__init__()
        self.stride, self.padding, self.isotropic = stride, (kernel - stride) // 2, isotropic
        bound = (inputs * kernel * kernel) ** -0.5
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        # Averaging makes filters smaller. Larger initial weights keep the size of the outputs from layer to layer.
        bound *= 8**0.5 if isotropic else 1.0
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "n inputs side side"]) -> Float[Tensor, "n outputs fewer fewer"]:
        """Convolve the maps with the filters."""
        weight = self.weight
        if self.isotropic:
            weight = (weight + weight.transpose(-1, -2)) / 2
            weight = (weight + weight.flip(-1)) / 2
            weight = (weight + weight.flip(-2)) / 2
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Keypoints(nn.Module):
    """Keypoints as expected image positions, so that the latent changes as smoothly as objects move.

        m_k = fine_k(f) + enlarged(coarse_k(g(f))),   w_k = softmax over places of beta_k m_k,   p_k = sum w_k (x, y)

    f are features on a grid with a quarter of the picture's area. g reads a wider neighbourhood on a coarser grid. Maps
    are standardised over places before the softmax, so that an untrained keypoint is already near salient places.
    Coordinates are in halves of the picture's side; (-1, -1) is the top left corner. Distances between latents are
    distances in the picture.

    Args:
        pixels: side of a picture.
        points: number of keypoints.
        channels: channels of the features.
        isotropic: see ``Filters``. An isotropic keypoint does not depend on direction, and moves with an object that
            turns.

    Source: spatial soft-argmax, Levine et al. (arXiv 1504.00702); isotropic filters are ours.
    """

    goal_weight = 1.0
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
        for layer in (self.fine, self.coarse):  # similar initial maps, which the loss makes different
            with torch.no_grad():
                layer.weight[1:] = layer.weight[:1] + SPREAD * layer.weight[1:]
        self.sharpness = nn.Parameter(torch.full((points,), 2.0))
        line = (torch.arange(side) + 0.5) / side * 2 - 1
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
        self.register_buffer("places", grid.flatten(0, 1), persistent=False)

    def forward(
        self, pictures: Float[Tensor, "n 3 side side"], changes: Float[Tensor, "n 1 side side"] | None = None
    ) -> Float[Tensor, "n latent"]:
        """Find the keypoints. With ``changes`` (pixels' differences from the ground), ignore unchanged places."""
        features = self.features(pictures)
        fine, coarse = self.fine(features), self.coarse(self.wider(features))
        maps = fine + functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        maps = maps.flatten(2)
        maps = (maps - maps.mean(-1, keepdim=True)) / (maps.std(-1, keepdim=True) + SMALL)
        maps = maps * self.sharpness[:, None]
        if changes is not None:
            maps = maps + (functional.adaptive_avg_pool2d(changes, fine.shape[-2:]).flatten(2) + NO_CHANGE).log()
        weights = maps.softmax(dim=-1)
        return (weights @ self.places).flatten(1)


class Convolutions(nn.Module):
    """Strided convolutions and a small network, for scenes that a few keypoints cannot describe.

    Args:
        pixels: side of a picture.
        latent: numbers in the latent.
        channels: channels of the first layer; the second layer has twice as many, later layers four times.
    """

    goal_weight = 1.0

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
        """Encode pictures."""
        return self.head(self.features(pictures).flatten(1))


Encoder = Keypoints | Convolutions | PictureTransformer | PatchEncoder
"""A module that maps transformed pictures (n, 3, side, side) to visual latents (n, v).

``goal_weight`` is the weight of the visual coordinates in a distance to a goal: a number, or a tensor (v,).
"""


def build_encoder(config: LatentModelConfig | PatchModelConfig) -> Encoder:
    """Build the encoder of a configuration."""
    if isinstance(config, PatchModelConfig):
        return PatchEncoder(config)
    if config.encoder == "keypoints":
        return Keypoints(config.pixels, config.latent // 2, config.channels, config.isotropic)
    if config.encoder == "transformer":
        return PictureTransformer(config)
    return Convolutions(config.pixels, config.latent, config.channels)
