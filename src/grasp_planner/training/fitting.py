"""Statistics and bounds of actions, computed from training data in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes

COVERED = 0.999  # the model's upper bound of each action coordinate is this quantile of the data


def check_finite(episodes: Episodes, keys: Sequence[str]) -> None:
    """Raise unless all values of the given keys are finite.

    Raises:
        GraspPlannerError: some values are NaN or infinite.
    """
    for key in keys:
        if not all(bool(np.isfinite(chunk).all()) for chunk in episodes.chunks(key)):
            raise GraspPlannerError(f"the data must be finite, found NaN or infinity in {key!r}")


def size_flags(sizes: Mapping[str, int]) -> str:
    """Say which fields of a recipe's model, and which flags of ``grasp train``, make the model fit the data.

    >>> size_flags({"state_size": 3})
    'another recipe with model.state_size=3 (--model.state-size 3)'
    """
    named = ", ".join(f"model.{name}={size}" for name, size in sizes.items())
    flags = " ".join(f"--model.{name.replace('_', '-')} {size}" for name, size in sizes.items())
    return f"another recipe with {named} ({flags})"


def action_units(
    actions: Float[Tensor, "n e"], *, symmetric: bool = False
) -> tuple[Float[Tensor, " e"], Float[Tensor, " e"], Float[Tensor, " e"], Float[Tensor, " e"]]:
    """Return mean and standard deviation of environment actions, and their bounds after normalisation.

    Args:
        actions: single environment actions.
        symmetric: include the mirror images of the actions: the mean is 0, all coordinates share one standard
            deviation, and the lower bound is minus the upper bound.
    """
    low, high = actions.quantile(1 - COVERED, dim=0), actions.quantile(COVERED, dim=0)
    mean, std = actions.mean(0), actions.std(0).clamp(min=1e-6)
    if symmetric:
        high = actions.abs().flatten().quantile(COVERED).expand_as(high)
        low, mean, std = -high, torch.zeros_like(mean), actions.square().mean().sqrt().expand_as(std)
    return mean, std, (low - mean) / std, (high - mean) / std
