"""What a pixel model is built from."""

from __future__ import annotations

from dataclasses import dataclass

from grasp_planner.core.errors import GraspPlannerError, unknown_name

ENCODERS = ("keypoints", "convolutions", "vit")
PREDICTORS = ("mlp", "rigid")
SIZES = (64, 224)
KEYPOINT_UNIT = 0.25  # of half the picture's side: the scale of a keypoint's coordinate


@dataclass(frozen=True)
class LatentModelConfig:
    """What a ``LatentModel`` is built from.

    Args:
        state_size: numbers in the environment's state, which the probe reads off the latent.
        action_size: numbers in one environment action.
        proprio_size: numbers of proprioception packed behind the visual latent; 0: none.
        pixels: side of the pictures, 64 or 224.
        encoder: ``"keypoints"`` (expected image positions), ``"convolutions"`` or ``"vit"``.
        latent: numbers in the visual latent; for keypoints, two for each.
        channels: of the encoder's feature maps; of a ``"vit"``, its width.
        isotropic: whether the filters of a keypoint encoder look the same from four sides and in the mirror, so that
            keypoints turn with what they sit on.
        still: whether the camera is: the ground, the median of the training pictures, is then taken out of a picture,
            and keypoints look only at what is left.
        predictor: ``"mlp"``, or ``"rigid"``: all keypoints move as one rigid body, pushed by the proprioception's
            first two numbers, its place in the picture.
        context: model steps that a prediction reads.
        frameskip: environment steps in one model step.
        substeps: network evaluations in one model step; ``frameskip`` (one for each environment action; context 1) or
            1, which sees an embedding of the whole block.
        width: units in a hidden layer of the predictor.
        depth: its hidden layers.
        octaves: sines and cosines of positions that it sees besides; see ``mlp.Waves``.
        view: what the picture's edges are in units of the state, low and high, alike for both axes; proprioception
            then is in units of the picture like a keypoint. ``None``: it is standardised.
        own_radius: of the agent's own body, in units of the state: proprioception says where it is, so it is painted
            over before the encoder looks, and the visual latent has to be about the rest; 0: it is not.
        proprio_weights: how much each number of the proprioception counts towards a goal; a visual coordinate
            counts 1.
        angles: which numbers of the state are angles.
    """

    state_size: int
    action_size: int
    proprio_size: int = 0
    pixels: int = 64
    encoder: str = "keypoints"
    latent: int = 16
    channels: int = 32
    isotropic: bool = False
    still: bool = False
    predictor: str = "mlp"
    context: int = 1
    frameskip: int = 5
    substeps: int = 1
    width: int = 256
    depth: int = 3
    octaves: int = 0
    view: tuple[float, float] | None = None
    own_radius: float = 0.0
    proprio_weights: tuple[float, ...] = ()
    angles: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("encoder", ENCODERS), ("predictor", PREDICTORS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        if self.pixels not in SIZES:
            raise GraspPlannerError(f"LatentModelConfig.pixels must be one of {SIZES}, got {self.pixels!r}")
        least = {"proprio_size": 0, "octaves": 0, "latent": 2}
        whole = ("state_size", "action_size", "channels", "context", "frameskip", "substeps", "width", "depth")
        for name in (*whole, *least):
            value = getattr(self, name)
            if type(value) is not int or value < least.get(name, 1):
                raise GraspPlannerError(
                    f"LatentModelConfig.{name} must be an integer >= {least.get(name, 1)}, got {value!r}"
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
        """Numbers in the latent: visual ones, then proprioception."""
        return self.latent + self.proprio_size
