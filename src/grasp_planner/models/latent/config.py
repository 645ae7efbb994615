"""The configuration of a ``LatentModel``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.checkpoint import ADDED_LATER
from grasp_planner.models.latent.camera import Camera
from grasp_planner.models.latent.picture_config import PictureModelConfig
from grasp_planner.models.picture_transform import HALF, Pictures

ENCODERS = ("keypoints", "convolutions", "transformer")
PREDICTORS = ("mlp", "rigid", "modulated")
HEAD = 32  # numbers in an attention head
KEYPOINT_UNIT = 0.25  # scale of a keypoint's coordinate, in halves of the picture's side


@dataclass(frozen=True)
class LatentModelConfig(PictureModelConfig):
    """The configuration of a ``LatentModel`` whose encoder is trained together with the predictor.

    The fields of ``PictureModelConfig`` come first: sizes, context, frameskip, pixels, weights and angles.

    Args:
        substeps: network evaluations in one model step: ``frameskip`` (one for each environment action; context 1), or
            1 (the network reads an embedding of the whole action block).
        predictor: ``"mlp"``; ``"rigid"``: all keypoints move as one rigid body, which is pushed by a pusher (the first
            two numbers of the proprioception are the pusher's place in the picture); or ``"modulated"``: a transformer
            over frames, whose layers are modulated by actions (AdaLN).
        width: units in a hidden layer of the predictor, or numbers in a token of a transformer.
        depth: number of hidden layers, or of layers of a transformer.
        octaves: number of wavelengths at which the predictor also reads sines and cosines of positions; see
            ``mlp.Waves``.
        encoder: ``"keypoints"`` (expected image positions), ``"convolutions"``, or ``"transformer"`` (a vision
            transformer on 4 x 4 tokens, whose latents are normalised).
        latent: numbers in the visual latent; a keypoint has two. A visual coordinate has the weight 1 in a distance to
            a goal.
        channels: channels of the encoder's feature maps, or numbers in a token of a vision transformer.
        layers: layers of a vision transformer; 0 for other encoders.
        isotropic: whether the filters of a keypoint encoder are symmetric under quarter turns and mirroring, so that
            keypoints move with an object that turns.
        view: the lower and upper edge of the picture in units of the state, the same for both axes. Proprioception then
            has the same unit as a keypoint. ``None``: proprioception is standardised.
        still: whether the camera does not move. The ground is the median of the training pictures. With a still camera,
            the ground is subtracted, and keypoints see only the difference.
        own_radius: radius of the agent's body, in units of the state. The place of the body is known from
            proprioception. The body is replaced by the ground before the picture is encoded, so the visual latent
            describes everything else. 0: the picture is not changed.

    Raises:
        GraspPlannerError: a number is out of range, a name is unknown, or fields do not fit together.

    Example:
        >>> LatentModelConfig(state_size=2, action_size=2, latent=4, still=True).visual
        4
    """

    kind: ClassVar[str] = "latent"
    pretrained: ClassVar[bool] = False
    probe_width: ClassVar[int] = 128

    substeps: int = 1
    predictor: str = "mlp"
    width: int = 256
    depth: int = 3
    octaves: int = 0
    encoder: str = "keypoints"
    latent: int = 16
    channels: int = 32
    isotropic: bool = False
    view: tuple[float, float] | None = None
    still: bool = False
    own_radius: float = 0.0
    layers: int = field(default=0, metadata={ADDED_LATER: True})

    def __post_init__(self) -> None:
        for name, known in (("encoder", ENCODERS), ("predictor", PREDICTORS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        positive = ("channels", "substeps", "width", "depth")
        self.check(dict.fromkeys(positive, 1) | {"octaves": 0, "latent": 2, "layers": 0})
        if (self.layers > 0) != (self.encoder == "transformer"):
            raise GraspPlannerError(
                f"encoder 'transformer' needs layers of at least 1, other encoders have none; got {self.layers} layers "
                f"with encoder {self.encoder!r}"
            )
        widths = {"channels": self.encoder == "transformer", "width": self.predictor == "modulated"}
        if bad := [name for name, counts in widths.items() if counts and getattr(self, name) % HEAD]:
            raise GraspPlannerError(
                f"{bad[0]} of a transformer must be a multiple of {HEAD}, the width of a head, got "
                f"{getattr(self, bad[0])}"
            )
        if self.predictor == "modulated" and (self.substeps > 1 or self.octaves):
            raise GraspPlannerError(
                f"predictor 'modulated' reads whole action blocks and no waves: it needs substeps 1 and octaves 0, got "
                f"{self.substeps} and {self.octaves}"
            )
        if self.substeps not in (1, self.frameskip) or (self.substeps > 1 and self.context > 1):
            raise GraspPlannerError(
                f"LatentModelConfig.substeps must be 1, or frameskip ({self.frameskip}) with context 1, "
                f"got {self.substeps} with context {self.context}"
            )
        if self.still and self.encoder != "keypoints":
            raise GraspPlannerError(f"still is a property of keypoints, got it with encoder {self.encoder!r}")
        if self.encoder == "keypoints" and self.latent % 2:
            raise GraspPlannerError(f"keypoints have two coordinates each, so latent must be even, got {self.latent}")
        if self.predictor == "rigid" and (
            self.encoder != "keypoints" or self.latent < 4 or self.substeps == 1 or self.view is None
        ):
            raise GraspPlannerError(
                "predictor 'rigid' needs at least two keypoints, substeps equal to frameskip, and a view"
            )
        if self.predictor == "rigid" and self.proprio_size != 4:
            raise GraspPlannerError(
                f"predictor 'rigid' needs proprioception (x, y, vx, vy), got proprio_size {self.proprio_size}"
            )
        if not 0 <= self.own_radius < float("inf") or (
            self.own_radius and (self.view is None or self.proprio_size < 2)
        ):
            raise GraspPlannerError(
                f"own_radius is a length >= 0, and needs a view and a place in proprioception, got {self.own_radius}"
            )
        if self.view is not None and not self.view[0] < self.view[1]:
            raise GraspPlannerError(f"a view goes from low to high, got {self.view}")

    @property
    def visual(self) -> int:
        """Numbers in the visual latent."""
        return self.latent

    @property
    def tokens(self) -> int:
        """1: the visual latent describes the picture as a whole."""
        return 1

    @property
    def units(self) -> tuple[float, float]:
        """Typical size of a visual coordinate, and of a number of the proprioception."""
        visual = KEYPOINT_UNIT if self.encoder == "keypoints" else 1.0
        return visual, 1.0 if self.view is None else KEYPOINT_UNIT

    @property
    def goal_proprio(self) -> tuple[float, ...]:
        """Weight of each number of the proprioception in a distance to a goal."""
        return self.relative_weights

    @property
    def transform(self) -> Pictures:
        """Transform of camera pictures to colours from -0.5 to 0.5."""
        return Pictures(self.pixels, HALF, (1.0, 1.0, 1.0))

    @property
    def camera(self) -> Camera:
        """What the model knows about the camera."""
        return Camera(self.pixels, self.still, self.own_radius, self.view)
