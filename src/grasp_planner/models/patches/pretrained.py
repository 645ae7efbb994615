"""The pretrained encoders of ``PatchWorldModel``: their architectures, and where their weights come from."""

from __future__ import annotations

from torch import nn

from grasp_planner.models.patches.dinov2 import DinoV2, load_dinov2
from grasp_planner.models.patches.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0
from grasp_planner.models.patches.patch_model_config import (
    DINOV2,
    DINOV2_GRID,
    DINOV2_PATCH,
    EFFICIENTNET,
    PatchModelConfig,
)
from grasp_planner.models.picture_transform import HALF, IMAGENET_MEAN, IMAGENET_STD, Pictures


def build_encoder(config: PatchModelConfig) -> tuple[nn.Module, int]:
    """Build the encoder of a configuration without pretrained weights.

    Returns:
        A module that maps normalised pictures (n, 3, side, side) to features (n, p, d), and d.
    """
    if config.encoder == EFFICIENTNET:
        encoder = EfficientNetLite0(config.strides, config.patch)
        return encoder, encoder.width
    width, depth = DINOV2[config.encoder]
    return DinoV2(width, depth, DINOV2_PATCH, DINOV2_GRID), width


def pretrained_encoder(config: PatchModelConfig) -> nn.Module:
    """Load the encoder of a configuration with its pretrained weights, which must be on this machine.

    Raises:
        MissingExtraError: the package with the weights of EfficientNet-Lite0 is not installed.
        GraspPlannerError: the weights of DINOv2 are not in torch.hub's folder, or they are broken.
    """
    if config.encoder == EFFICIENTNET:
        return load_efficientnet_lite0(config.strides, config.patch)
    return load_dinov2(config.encoder)


def picture_transform(config: PatchModelConfig) -> Pictures:
    """Return the transform of camera pictures with which the encoder was trained."""
    if config.encoder == EFFICIENTNET:
        return Pictures(config.pixels, HALF, HALF, encoder_size=config.encoder_pixels)
    return Pictures(config.pixels, IMAGENET_MEAN, IMAGENET_STD, encoder_size=config.encoder_pixels)
