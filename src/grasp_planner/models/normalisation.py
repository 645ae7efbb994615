"""Normalisation of actions and proprioception, with the statistics with which published models were trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True)
class Statistics:
    """Means and standard deviations with which a model's inputs are normalised, per environment step.

    Args:
        action_mean: one number per coordinate of an environment action, in the environment's units.
        action_std: the standard deviations, > 0.
        proprio_mean: one number per coordinate of the proprioception; empty if the model has none.
        proprio_std: the standard deviations, > 0.

    Raises:
        GraspPlannerError: lengths differ, a number is not finite, or a standard deviation is not positive.

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


# Statistics of the data sets that DINO-WM published, which JEPA-WMs used, too. The statistics of Push-T are constants
# in DINO-WM's code. The statistics of PointMaze and Wall were computed from the data, and fit only models trained on
# the published data.
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
    """Return statistics that leave values unchanged, for models trained without normalisation."""
    return Statistics((0.0,) * actions, (1.0,) * actions, (0.0,) * proprio, (1.0,) * proprio)


def to_environment(
    actions: Float[Tensor, "*batch a"], mean: Float[Tensor, " e"], std: Float[Tensor, " e"]
) -> Float[Tensor, "*batch frameskip e"]:
    """Convert normalised action blocks to environment actions, earliest first."""
    return actions.unflatten(-1, (-1, len(mean))) * std + mean


def from_environment(
    actions: Float[Tensor, "*batch frameskip e"], mean: Float[Tensor, " e"], std: Float[Tensor, " e"]
) -> Float[Tensor, "*batch a"]:
    """Convert environment actions to normalised action blocks: the inverse of ``to_environment``."""
    return ((actions.to(mean) - mean) / std).flatten(-2)


def block_bounds(
    statistics: Statistics, frameskip: int, bounds: tuple[float, float] | None
) -> tuple[Float[Tensor, " a"], Float[Tensor, " a"]]:
    """Compute the bounds of a model action.

    Args:
        statistics: statistics of the environment actions.
        frameskip: environment actions in a model action.
        bounds: lowest and highest environment action; ``None``: three standard deviations around the mean.

    Raises:
        GraspPlannerError: the lower bound is not below the upper bound.
    """
    mean, std = torch.tensor(statistics.action_mean), torch.tensor(statistics.action_std)
    if bounds is None:
        low, high = torch.full_like(mean, -3.0), torch.full_like(mean, 3.0)
    elif not bounds[0] < bounds[1]:
        raise GraspPlannerError(f"bounds must be (low, high) of an environment action, low < high, got {bounds!r}")
    else:
        low, high = (bounds[0] - mean) / std, (bounds[1] - mean) / std
    return low.repeat(frameskip), high.repeat(frameskip)
