"""The encoder of models on patch features: a pretrained network, and the principal components of its features."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.latent.components import Components
from grasp_planner.models.latent.patch_config import (
    DINOV2,
    DINOV2_GRID,
    DINOV2_PATCH,
    EFFICIENTNET,
    PatchModelConfig,
)
from grasp_planner.models.patches.dinov2 import DinoV2, load_dinov2
from grasp_planner.models.patches.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0


class PatchEncoder(nn.Module):
    """Encode pictures as the principal components of the patch features of a frozen network.

    The network is built without pretrained weights: a checkpoint has them, and a training loads them.

    Args:
        config: the configuration of the model.
    """

    def __init__(self, config: PatchModelConfig) -> None:
        super().__init__()
        self.patches = config.patches
        if config.encoder == EFFICIENTNET:
            self.network = EfficientNetLite0(config.strides, config.patch)
            width = self.network.width
        else:
            width, depth = DINOV2[config.encoder]
            self.network = DinoV2(width, depth, DINOV2_PATCH, DINOV2_GRID)
        self.components = Components(config.patches, width, config.components)
        self.requires_grad_(False)

    @property
    def goal_weight(self) -> Float[Tensor, " v"]:
        """Weight of each visual coordinate in a distance to a goal, which makes it the distance of the features."""
        return self.components.variances.repeat(self.patches)

    def forward(self, pictures: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n v"]:
        """Encode pictures."""
        return self.components(self.network(pictures)).flatten(1)


def pretrained_network(config: PatchModelConfig) -> nn.Module:
    """Load the network of a configuration with its pretrained weights, which must be on this machine.

    Raises:
        MissingExtraError: the package with the weights of EfficientNet-Lite0 is not installed.
        GraspPlannerError: the weights of DINOv2 are not in torch.hub's folder, or they are broken.
    """
    if config.encoder == EFFICIENTNET:
        return load_efficientnet_lite0(config.strides, config.patch)
    return load_dinov2(config.encoder)
