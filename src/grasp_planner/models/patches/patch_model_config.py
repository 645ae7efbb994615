"""The configuration of a ``PatchWorldModel``."""

from __future__ import annotations

from dataclasses import dataclass

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.integer_fields import check_integers
from grasp_planner.models.patches.efficientnet_lite import check_strides

EFFICIENTNET = "efficientnet-lite0"
DINOV2 = {"dinov2_vits14": (384, 12), "dinov2_vitb14": (768, 12), "dinov2_vitl14": (1024, 24)}
"""Name of a published size of DINOv2 -> width and depth."""
DINOV2_PATCH, DINOV2_GRID = 14, 37
PICTURES = (64, 224)


@dataclass(frozen=True)
class PatchModelConfig:
    """The configuration of a ``PatchWorldModel``.

    Args:
        state_size: numbers in the environment's state, which the probe predicts from the latent.
        action_size: numbers in one environment action.
        proprio_size: numbers of proprioception, appended to the visual latent; 0: no proprioception.
        context: h, number of model steps that a prediction reads.
        frameskip: environment steps in one model step.
        encoder: the pretrained encoder: ``"efficientnet-lite0"``, or a size of DINOv2 such as ``"dinov2_vits14"``.
        strides: strides of the feature maps of EfficientNet-Lite0; empty for DINOv2.
        patch: side of a patch in pixels of the encoder's input.
        pixels: side of the camera's pictures, 64 or 224.
        encoder_pixels: side of the encoder's input, to which pictures are resized; a multiple of ``patch``.
        components: number of principal components that are kept of the features of a patch.
        width: numbers in a token of the predictor, a multiple of ``heads``.
        depth: number of layers of the predictor.
        heads: number of attention heads.
        hidden: hidden units of a layer's perceptron.
        alpha: weight of the proprioceptive distance to a goal, relative to the visual distance; both are mean squares.
        proprio_weights: relative weight of each number of the proprioception in this distance; empty: equal weights.
        angles: indices of the numbers in the state that are angles.

    Raises:
        GraspPlannerError: a setting is out of range, or the settings of encoder and patches do not fit together.

    Example:
        >>> config = PatchModelConfig(state_size=2, action_size=2)
        >>> config.patches, config.visual
        (16, 512)
    """

    state_size: int
    action_size: int
    proprio_size: int = 0
    context: int = 1
    frameskip: int = 5
    encoder: str = EFFICIENTNET
    strides: tuple[int, ...] = (8,)
    patch: int = 16
    pixels: int = 64
    encoder_pixels: int = 64
    components: int = 32
    width: int = 128
    depth: int = 3
    heads: int = 4
    hidden: int = 512
    alpha: float = 1.0
    proprio_weights: tuple[float, ...] = ()
    angles: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        positive = ("state_size", "action_size", "context", "frameskip", "patch", "encoder_pixels", "components")
        check_integers(self, dict.fromkeys((*positive, "width", "depth", "heads", "hidden"), 1) | {"proprio_size": 0})
        if self.encoder == EFFICIENTNET:
            check_strides(self.strides, self.patch)
        elif self.encoder not in DINOV2:
            raise unknown_name("encoder", self.encoder, (EFFICIENTNET, *DINOV2))
        elif self.strides or self.patch != DINOV2_PATCH:
            raise GraspPlannerError(
                f"DINOv2 has patches of {DINOV2_PATCH} px and no strides, got patch {self.patch} and {self.strides}"
            )
        if self.pixels not in PICTURES:
            raise GraspPlannerError(f"PatchModelConfig.pixels must be one of {PICTURES}, got {self.pixels!r}")
        if self.encoder_pixels % self.patch:
            raise GraspPlannerError(
                f"encoder_pixels must be a multiple of the patch ({self.patch}), got {self.encoder_pixels}"
            )
        if self.width % self.heads:
            raise GraspPlannerError(f"width must be a multiple of heads ({self.heads}), got {self.width}")
        if self.proprio_weights and len(self.proprio_weights) != self.proprio_size:
            raise GraspPlannerError(
                f"proprio_weights must have {self.proprio_size} numbers, got {len(self.proprio_weights)}"
            )
        if not all(0 <= one < float("inf") for one in (self.alpha, *self.proprio_weights)):
            raise GraspPlannerError(
                f"alpha and proprio_weights must be numbers >= 0, got {self.alpha} and {self.proprio_weights}"
            )
        if any(not 0 <= one < self.state_size for one in self.angles):
            raise GraspPlannerError(f"angles must be places in a state of {self.state_size}, got {self.angles}")

    @property
    def patches(self) -> int:
        """Number of patches of a picture."""
        return (self.encoder_pixels // self.patch) ** 2

    @property
    def visual(self) -> int:
        """Numbers in the visual latent."""
        return self.patches * self.components

    @property
    def size(self) -> int:
        """Numbers in the latent of a frame: the visual latent, then the proprioception."""
        return self.visual + self.proprio_size
