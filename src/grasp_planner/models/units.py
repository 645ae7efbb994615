"""Normalised actions and proprioception: the statistics that published models were trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError, unknown_name


@dataclass(frozen=True)
class Statistics:
    """Means and standard deviations by which a model's inputs are normalised, per environment step.

    Args:
        action_mean: one number for each coordinate of an environment action, in its units.
        action_std: the same, > 0.
        proprio_mean: one number for each coordinate of the proprioception; none where the model has none.
        proprio_std: the same, > 0.

    Raises:
        GraspPlannerError: lengths differ, or a number is not finite, or a deviation is not positive.

    Example:
        >>> Statistics((0.0, 0.0), (0.2, 0.2)).action_std
        (0.2, 0.2)
    """

    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    proprio_mean: tuple[float, ...] = ()
    proprio_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for mean, std in (("action_mean", "action_std"), ("proprio_mean", "proprio_std")):
            means, deviations = torch.tensor(getattr(self, mean)), torch.tensor(getattr(self, std))
            if means.shape != deviations.shape or means.ndim != 1:
                raise GraspPlannerError(
                    f"Statistics.{mean} and .{std} must be two tuples of the same length, got {getattr(self, mean)!r} "
                    f"and {getattr(self, std)!r}"
                )
            if not bool(means.isfinite().all()) or not bool((deviations.isfinite() & (deviations > 0)).all()):
                raise GraspPlannerError(
                    f"Statistics.{mean} must be finite and .{std} finite and > 0, got {getattr(self, mean)!r} and "
                    f"{getattr(self, std)!r}"
                )
        if not self.action_mean:
            raise GraspPlannerError("Statistics.action_mean must hold one number for each action coordinate, got none")


# Of the data sets that DINO-WM published and JEPA-WMs used too. Push-T's are constants in DINO-WM's code; those of the
# other two were computed from the data, so they fit models trained on the published data only.
PUBLISHED = {
    "pusht": Statistics(
        (-0.0087, 0.0068),
        (0.2019, 0.2002),
        (236.6155, 264.5674, -2.93032, 2.54308),
        (101.1202, 87.0112, 74.84556, 74.14009),
    ),
    "point_maze": Statistics(
        (7.8e-5, 6.0e-4),
        (0.57691, 0.57759),
        (1.81306, 1.93771, -0.00393, -0.01978),
        (1.00550, 0.96301, 1.68028, 1.93193),
    ),
    "wall": Statistics((-0.00556, 0.01320), (0.75233, 0.74669), (31.8945, 31.8140), (17.6635, 17.2752)),
}


def identity_statistics(actions: int, proprio: int) -> Statistics:
    """Statistics that change nothing, for models trained without normalisation."""
    return Statistics((0.0,) * actions, (1.0,) * actions, (0.0,) * proprio, (1.0,) * proprio)


def published_statistics(name: str, wanted: Mapping[str, Statistics] = PUBLISHED) -> Statistics:
    """The published statistics of a task.

    Raises:
        GraspPlannerError: none are known for it.
    """
    if name not in wanted:
        raise unknown_name("published statistics", name, wanted)
    return wanted[name]


def to_environment(
    actions: Float[Tensor, "*batch a"], mean: Float[Tensor, " e"], std: Float[Tensor, " e"]
) -> Float[Tensor, "*batch frameskip e"]:
    """Normalised blocks as environment actions, earliest first."""
    return actions.unflatten(-1, (-1, len(mean))) * std + mean


def from_environment(
    actions: Float[Tensor, "*batch frameskip e"], mean: Float[Tensor, " e"], std: Float[Tensor, " e"]
) -> Float[Tensor, "*batch a"]:
    """The inverse."""
    return ((actions.to(mean) - mean) / std).flatten(-2)


def block_bounds(
    statistics: Statistics, frameskip: int, bounds: tuple[float, float] | None
) -> tuple[Float[Tensor, " a"], Float[Tensor, " a"]]:
    """Lowest and highest model action: an environment action within ``bounds``; ``None``: 3 deviations each way.

    Raises:
        GraspPlannerError: the bounds are upside down.
    """
    mean, std = torch.tensor(statistics.action_mean), torch.tensor(statistics.action_std)
    if bounds is None:
        low, high = torch.full_like(mean, -3.0), torch.full_like(mean, 3.0)
    elif not bounds[0] < bounds[1]:
        raise GraspPlannerError(f"bounds must be (low, high) of an environment action, low < high, got {bounds!r}")
    else:
        low, high = (bounds[0] - mean) / std, (bounds[1] - mean) / std
    return low.repeat(frameskip), high.repeat(frameskip)
