"""Functions for CEM, ICEM and MPPI: a normal distribution over plans, and its fit to weighted candidates."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, whole
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem


class Gaussian(NamedTuple):
    """The normal distribution of the next candidates, independent over time steps and coordinates."""

    mean: Float[Tensor, "b t a"]
    std: Float[Tensor, "b t a"]


@runtime_checkable
class FitSettings(Protocol):
    """The settings of a planner that fits a normal distribution to elites."""

    @property
    def samples(self) -> int: ...  # noqa: D102
    @property
    def elites(self) -> int: ...  # noqa: D102
    @property
    def momentum(self) -> float: ...  # noqa: D102


def check_fit(planner: FitSettings) -> None:
    """Raise unless the settings of a fit are in range.

    Raises:
        GraspPlannerError: a setting is out of range, or there are more elites than samples.
    """
    whole(planner, 2, "samples")
    whole(planner, 1, "elites")
    at_least(planner, 0, "std", "min_std", "momentum", "tolerance")
    name = type(planner).__name__
    if planner.elites > planner.samples:
        raise GraspPlannerError(f"{name}.elites must be <= samples ({planner.samples}), got {planner.elites}")
    if planner.momentum >= 1:
        raise GraspPlannerError(f"{name}.momentum must be < 1, got {planner.momentum}")


def elites(
    candidates: Float[Tensor, "b n t a"], cost: Float[Tensor, "b n"], count: int
) -> tuple[Float[Tensor, "b e t a"], Float[Tensor, "b e"]]:
    """Return the ``count`` cheapest candidates, and weights that sum to one and are 0 where the cost is infinite."""
    kept = min(count, cost.shape[1])
    lowest, position = torch.topk(cost, kept, dim=1, largest=False)
    cheapest = torch.take_along_dim(candidates, position[:, :, None, None], dim=1)
    finite = torch.isfinite(lowest).to(candidates.dtype)
    return cheapest, finite / finite.sum(1, keepdim=True).clamp(min=1)


def fitted(problem: Problem, candidates: Float[Tensor, "b n t a"], weights: Float[Tensor, "b n"]) -> Gaussian:
    """Fit mean and standard deviation to candidates, under weights that sum to one."""
    weights = weights[:, :, None, None]
    mean = (weights * candidates).sum(1)
    variance = (weights * (candidates - mean[:, None]).square()).sum(1)
    return Gaussian(problem.clamp(mean), variance.sqrt())  # rounding of the mean may exceed a bound


def mixed(problem: Problem, new: Gaussian, old: Gaussian, momentum: float, min_std: float) -> Gaussian:
    """Mix the new distribution with the share ``momentum`` of the old mean and standard deviation."""
    mean = problem.clamp(torch.lerp(new.mean, old.mean, momentum))
    return Gaussian(mean, torch.lerp(new.std, old.std, momentum).clamp(min=min_std))
