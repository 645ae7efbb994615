"""Models that have smoother versions, in which planning meets fewer local minima."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from grasp_planner.core.dynamics import Dynamics

UNSMOOTHED = 0.0  # the amount of smoothing of the model itself


@runtime_checkable
class Smoothable(Protocol):
    """A model that has smoother versions, such as a diffusion model, or a wrapper around such a model.

    Example:
        >>> from grasp_planner.models import StateModel, StateModelConfig
        >>> model = StateModel(StateModelConfig(state_size=2, action_size=1, features="plain_diffusion"))
        >>> isinstance(model, Smoothable), isinstance(model.smoothed(1.0), Dynamics)
        (True, True)
    """

    def smoothed(self, amount: float) -> Dynamics:
        """Return a version of the model with the same latents and actions.

        ``amount`` goes from 0 (the model itself) to 1 (its smoothest version). A model without smoother versions
        returns itself.
        """
        ...


def smoothed(dynamics: Dynamics, amount: float) -> Dynamics:
    """Return a smoother version of a model, or the same model if the amount is 0 or there are no smoother versions."""
    return dynamics.smoothed(amount) if amount > UNSMOOTHED and isinstance(dynamics, Smoothable) else dynamics
