"""What the configurations of all models of pictures have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.integer_fields import check_integers
from grasp_planner.models.latent.camera import Camera
from grasp_planner.models.picture_transform import Pictures

SIZES = (64, 224)


@dataclass(frozen=True)
class PictureModelConfig(ABC):
    """The fields that all configurations of a ``LatentModel`` have, and what the model is built from.

    ``LatentModelConfig`` and ``PatchModelConfig`` are the configurations; this class has no instances.

    Args:
        state_size: numbers in the environment's state, which the probe predicts from the latent.
        action_size: numbers in one environment action.
        proprio_size: numbers of proprioception, appended to the visual latent; 0: no proprioception.
        context: h, number of model steps that a prediction reads.
        frameskip: environment steps in one model step.
        pixels: side of the camera's pictures, 64 or 224.
        proprio_weights: weight of each number of the proprioception in a distance to a goal; empty: equal weights.
        angles: indices of the numbers in the state that are angles.

    Raises:
        GraspPlannerError: a number is out of range, or fields do not fit together.

    Example:
        >>> from grasp_planner.models import LatentModelConfig
        >>> config = LatentModelConfig(state_size=2, action_size=2, proprio_size=4, latent=16)
        >>> isinstance(config, PictureModelConfig), config.visual, config.size
        (True, 16, 20)
    """

    kind: ClassVar[str]  # of the model, in ``config.json``
    pretrained: ClassVar[bool]  # whether the encoder is pretrained and frozen
    probe_width: ClassVar[int]  # units in a hidden layer of the probe

    state_size: int
    action_size: int
    proprio_size: int = 0
    context: int = 1
    frameskip: int = 5
    pixels: int = 64
    proprio_weights: tuple[float, ...] = ()
    angles: tuple[int, ...] = ()

    def check(self, least: Mapping[str, int]) -> None:
        """Check the common fields, and that the fields in ``least`` are integers of at least the given value.

        Raises:
            GraspPlannerError: a number is out of range, or fields do not fit together.
        """
        positive = ("state_size", "action_size", "context", "frameskip")
        check_integers(self, {**dict.fromkeys(positive, 1), "proprio_size": 0, **least})
        if self.pixels not in SIZES:
            raise GraspPlannerError(f"{type(self).__name__}.pixels must be one of {SIZES}, got {self.pixels!r}")
        if self.proprio_weights and len(self.proprio_weights) != self.proprio_size:
            raise GraspPlannerError(
                f"proprio_weights must have {self.proprio_size} numbers, got {len(self.proprio_weights)}"
            )
        if not all(0 <= one < float("inf") for one in self.proprio_weights):
            raise GraspPlannerError(f"proprio_weights must be numbers >= 0, got {self.proprio_weights}")
        if any(not 0 <= one < self.state_size for one in self.angles):
            raise GraspPlannerError(f"angles must be places in a state of {self.state_size}, got {self.angles}")

    @property
    @abstractmethod
    def visual(self) -> int:
        """Numbers in the visual latent."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """Number of parts of the visual latent that describe different places by the same numbers."""

    @property
    @abstractmethod
    def units(self) -> tuple[float, float]:
        """Typical size of a visual coordinate, and of a number of the proprioception."""

    @property
    @abstractmethod
    def goal_proprio(self) -> tuple[float, ...]:
        """Weight of each number of the proprioception in a distance to a goal, relative to a visual weight of 1."""

    @property
    @abstractmethod
    def transform(self) -> Pictures:
        """Transform of camera pictures to the input of the encoder."""

    @property
    @abstractmethod
    def camera(self) -> Camera | None:
        """What the model knows about the camera; ``None``: nothing."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The observations that the model encodes."""
        return ("pixels", "proprio") if self.proprio_size else ("pixels",)

    @property
    def relative_weights(self) -> tuple[float, ...]:
        """The weights of the proprioception, also where none are given."""
        return self.proprio_weights or (1.0,) * self.proprio_size

    @property
    def size(self) -> int:
        """Numbers in the latent of a frame: the visual latent, then the proprioception."""
        return self.visual + self.proprio_size
