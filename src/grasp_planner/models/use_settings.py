"""Settings for planning with a model of another project. The checkpoints do not contain these settings."""

from __future__ import annotations

from dataclasses import dataclass

from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True)
class UseSettings:
    """The settings for planning with a loaded model.

    Args:
        alpha: weight of the proprioceptive distance to a goal, relative to the visual distance; both are mean squares.
            DINO-WM uses 0 on PointMaze and 1 on Wall and Push-T, JEPA-WMs 0.1.
        history: number of observed frames that a plan may start from, at most the model's context; ``None``: the
            context. The published protocol of both projects is 1: a plan starts from one frame, and further frames of
            the window are predicted.
        bounds: lowest and highest environment action; ``None``: three standard deviations around the mean.
        scale: typical size of a latent coordinate.

    Raises:
        GraspPlannerError: a number is out of range.

    Example:
        >>> UseSettings(alpha=1.0, history=1).frames(context=3)
        1
    """

    alpha: float = 1.0
    history: int | None = None
    bounds: tuple[float, float] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("alpha", 0.0), ("scale", 1e-12)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
                raise GraspPlannerError(f"UseSettings.{name} must be a number of at least {least}, got {value!r}")

    def frames(self, context: int) -> int:
        """Return the number of observed frames that a plan of a model of this context may start from.

        Raises:
            GraspPlannerError: ``history`` is not between 1 and the context.
        """
        if self.history is None:
            return context
        if type(self.history) is not int or not 1 <= self.history <= context:
            raise GraspPlannerError(
                f"history must be None or a number of frames from 1 to {context}, got {self.history!r}"
            )
        return self.history
