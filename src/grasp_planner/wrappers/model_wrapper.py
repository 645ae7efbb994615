"""``ModelWrapper``: what models around another model have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.wrappers.piecewise import checked
from grasp_planner.wrappers.smoothable import smoothed


class ModelWrapper(ABC):
    """A model around a model. It can be evaluated in pieces, and has smoother versions, if the model inside does.

    Args:
        dynamics: the model inside.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics, self.context = dynamics, dynamics.context

    @abstractmethod
    def around(self, dynamics: Dynamics) -> Self:
        """Return a wrapper with the same settings around another model."""

    @abstractmethod
    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the state that follows each window."""

    def checked(self, before_piece: Callable[[], None]) -> Self:
        """Return the same model, with a call of ``before_piece`` before each piece of an inner ``Chunked`` model."""
        return self.around(checked(self.dynamics, before_piece))

    def smoothed(self, amount: float) -> Self:
        """Return the wrapper around a smoother version of the model; this model if there is no smoother version."""
        dynamics = smoothed(self.dynamics, amount)
        return self if dynamics is self.dynamics else self.around(dynamics)
