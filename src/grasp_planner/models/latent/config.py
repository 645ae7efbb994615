"""The configuration of a ``LatentModel``."""

from __future__ import annotations

from dataclasses import dataclass

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.integer_fields import check_integers

ENCODERS = ("keypoints", "convolutions")
PREDICTORS = ("mlp", "rigid")
SIZES = (64, 224)
KEYPOINT_UNIT = 0.25  # scale of a keypoint's coordinate, in halves of the picture's side


@dataclass(frozen=True)
class LatentModelConfig:
    """The configuration of a ``LatentModel``.

    Args:
        state_size: numbers in the environment's state, which the probe predicts from the latent.
        action_size: numbers in one environment action.
        proprio_size: numbers of proprioception, appended to the visual latent; 0: no proprioception.
        context: h, number of model steps that a prediction reads.
        frameskip: environment steps in one model step.
        substeps: network evaluations in one model step: ``frameskip`` (one for each environment action; context 1), or
            1 (the network reads an embedding of the whole action block).
        predictor: ``"mlp"``, or ``"rigid"``: all keypoints move as one rigid body, which is pushed by a pusher. The
            first two numbers of the proprioception are the pusher's place in the picture.
        width: units in a hidden layer of the predictor.
        depth: number of hidden layers of the predictor.
        octaves: number of wavelengths at which the predictor also reads sines and cosines of positions; see
            ``mlp.Waves``.
        encoder: ``"keypoints"`` (expected image positions) or ``"convolutions"``.
        latent: numbers in the visual latent; a keypoint has two.
        channels: channels of the encoder's feature maps.
        isotropic: whether the filters of a keypoint encoder are symmetric under quarter turns and mirroring, so that
            keypoints move with an object that turns.
        pixels: side of the pictures, 64 or 224.
        view: the lower and upper edge of the picture in units of the state, the same for both axes. Proprioception then
            has the same unit as a keypoint. ``None``: proprioception is standardised.
        still: whether the camera does not move. The ground is the median of the training pictures. With a still camera,
            the ground is subtracted, and keypoints see only the difference.
        own_radius: radius of the agent's body, in units of the state. The place of the body is known from
            proprioception. The body is replaced by the ground before the picture is encoded, so the visual latent
            describes everything else. 0: the picture is not changed.
        proprio_weights: weight of each number of the proprioception in a distance to a goal; a visual coordinate has
            the weight 1.
        angles: indices of the numbers in the state that are angles.
    """

    state_size: int
    action_size: int
    proprio_size: int = 0
    context: int = 1
    frameskip: int = 5
    substeps: int = 1
    predictor: str = "mlp"
    width: int = 256
    depth: int = 3
    octaves: int = 0
    encoder: str = "keypoints"
    latent: int = 16
    channels: int = 32
    isotropic: bool = False
    pixels: int = 64
    view: tuple[float, float] | None = None
    still: bool = False
    own_radius: float = 0.0
    proprio_weights: tuple[float, ...] = ()
    angles: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("encoder", ENCODERS), ("predictor", PREDICTORS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        if self.pixels not in SIZES:
            raise GraspPlannerError(f"LatentModelConfig.pixels must be one of {SIZES}, got {self.pixels!r}")
        positive = ("state_size", "action_size", "channels", "context", "frameskip", "substeps", "width", "depth")
        check_integers(self, dict.fromkeys(positive, 1) | {"proprio_size": 0, "octaves": 0, "latent": 2})
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
        if self.proprio_weights and len(self.proprio_weights) != self.proprio_size:
            raise GraspPlannerError(
                f"proprio_weights must have {self.proprio_size} numbers, got {len(self.proprio_weights)}"
            )
        if any(not 0 <= one < self.state_size for one in self.angles):
            raise GraspPlannerError(f"angles must be places in a state of {self.state_size}, got {self.angles}")
        if not 0 <= self.own_radius < float("inf") or (
            self.own_radius and (self.view is None or self.proprio_size < 2)
        ):
            raise GraspPlannerError(
                f"own_radius is a length >= 0, and needs a view and a place in proprioception, got {self.own_radius}"
            )
        if self.view is not None and not self.view[0] < self.view[1]:
            raise GraspPlannerError(f"a view goes from low to high, got {self.view}")

    @property
    def size(self) -> int:
        """Numbers in the latent: the visual latent, then the proprioception."""
        return self.latent + self.proprio_size
