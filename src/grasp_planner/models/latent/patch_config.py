"""The configuration of a ``LatentModel`` on the patch features of a pretrained encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.latent.picture_config import PictureModelConfig
from grasp_planner.models.patches.efficientnet_lite import check_strides
from grasp_planner.models.picture_transform import HALF, IMAGENET_MEAN, IMAGENET_STD, Pictures

EFFICIENTNET = "efficientnet-lite0"
DINOV2 = {"dinov2_vits14": (384, 12), "dinov2_vitb14": (768, 12), "dinov2_vitl14": (1024, 24)}
"""Name of a published size of DINOv2 -> width and depth."""
DINOV2_PATCH, DINOV2_GRID = 14, 37
PREDICTORS = ("transformer", "perceptron")


@dataclass(frozen=True)
class PatchModelConfig(PictureModelConfig):
    """The configuration of a ``LatentModel`` whose encoder is pretrained on other pictures and frozen.

    The latent is the principal components of the encoder's features, one token per patch, and the proprioception.
    The fields of ``PictureModelConfig`` come first: sizes, context, frameskip, pixels, weights and angles.

    Args:
        predictor: ``"transformer"``, which has a token for each patch; or ``"perceptron"``, a residual network that
            reads the whole frame as one vector. The perceptron needs far less computation for small pictures.
        width: numbers in a token of the transformer, a multiple of ``heads``; or units of the perceptron.
        depth: number of layers of the predictor.
        heads: number of attention heads of the transformer; 0 for the perceptron, which has none.
        hidden: hidden units of each layer.
        encoder: the pretrained encoder: ``"efficientnet-lite0"``, or a size of DINOv2 such as ``"dinov2_vits14"``.
        strides: strides of the feature maps of EfficientNet-Lite0; empty for DINOv2.
        encoder_pixels: side of the encoder's input, to which pictures are resized; a multiple of ``patch``.
        patch: side of a patch in pixels of the encoder's input.
        components: number of principal components that are kept of the features of a patch.
        alpha: weight of the proprioceptive distance to a goal, relative to the visual distance; both are mean squares.

    Raises:
        GraspPlannerError: a number is out of range, a name is unknown, or fields do not fit together.

    Example:
        >>> config = PatchModelConfig(state_size=2, action_size=2, encoder_pixels=64, patch=16, components=32)
        >>> config.patches, config.visual
        (16, 512)
    """

    kind: ClassVar[str] = "patches"
    pretrained: ClassVar[bool] = True
    probe_width: ClassVar[int] = 256

    predictor: str = "transformer"
    width: int = 128
    depth: int = 3
    heads: int = 4
    hidden: int = 512
    encoder: str = EFFICIENTNET
    strides: tuple[int, ...] = (8,)
    encoder_pixels: int = 64
    patch: int = 16
    components: int = 32
    alpha: float = 1.0

    def __post_init__(self) -> None:
        positive = ("patch", "encoder_pixels", "components", "width", "depth", "hidden")
        self.check(dict.fromkeys(positive, 1) | {"heads": 0})
        if self.predictor not in PREDICTORS:
            raise unknown_name("predictor", self.predictor, PREDICTORS)
        if (self.predictor == "perceptron") != (self.heads == 0):
            raise GraspPlannerError(
                f"a transformer needs heads of at least 1, and a perceptron has none (heads=0), "
                f"got heads {self.heads} with predictor {self.predictor!r}"
            )
        if self.encoder == EFFICIENTNET:
            check_strides(self.strides, self.patch)
        elif self.encoder not in DINOV2:
            raise unknown_name("encoder", self.encoder, (EFFICIENTNET, *DINOV2))
        elif self.strides or self.patch != DINOV2_PATCH:
            raise GraspPlannerError(
                f"DINOv2 has patches of {DINOV2_PATCH} px and no strides, got patch {self.patch} and {self.strides}"
            )
        if self.encoder_pixels % self.patch:
            raise GraspPlannerError(
                f"encoder_pixels must be a multiple of the patch ({self.patch}), got {self.encoder_pixels}"
            )
        if self.heads and self.width % self.heads:
            raise GraspPlannerError(f"width must be a multiple of heads ({self.heads}), got {self.width}")
        if not 0 <= self.alpha < float("inf"):
            raise GraspPlannerError(f"alpha must be a number >= 0, got {self.alpha}")

    @property
    def patches(self) -> int:
        """Number of patches of a picture."""
        return (self.encoder_pixels // self.patch) ** 2

    @property
    def visual(self) -> int:
        """Numbers in the visual latent."""
        return self.patches * self.components

    @property
    def tokens(self) -> int:
        """Number of patches: all patches are described by the same components."""
        return self.patches

    @property
    def units(self) -> tuple[float, float]:
        """1 and 1: components and proprioception have unit variance."""
        return 1.0, 1.0

    @property
    def goal_proprio(self) -> tuple[float, ...]:
        """Weight of each number of the proprioception in a distance to a goal.

        The weights make the weighted sum of squares the number of visual coordinates times (mean squared distance of
        the features + alpha * mean squared distance of the proprioception).
        """
        weights = self.relative_weights
        each = self.alpha * self.visual / max(sum(weights), 1e-12)
        return tuple(each * weight for weight in weights)

    @property
    def transform(self) -> Pictures:
        """Transform of camera pictures with which the encoder was trained."""
        mean, std = (HALF, HALF) if self.encoder == EFFICIENTNET else (IMAGENET_MEAN, IMAGENET_STD)
        return Pictures(self.pixels, mean, std, encoder_size=self.encoder_pixels)

    @property
    def camera(self) -> None:
        """``None``: the mean features of each patch describe the ground."""
        return None
