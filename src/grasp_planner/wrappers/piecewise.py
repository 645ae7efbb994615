"""Models that are evaluated in pieces, and can be interrupted between two pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from grasp_planner.core.dynamics import Dynamics


@runtime_checkable
class Piecewise(Protocol):
    """A model that may be evaluated in pieces, such as ``Chunked``, or a wrapper around another model."""

    def checked(self, before_piece: Callable[[], None]) -> Dynamics:
        """Return the same model, which calls ``before_piece`` before it evaluates each piece."""
        ...


def checked(dynamics: Dynamics, before_piece: Callable[[], None]) -> Dynamics:
    """Return the model with a check before each piece, or the same model if it is not evaluated in pieces."""
    return dynamics.checked(before_piece) if isinstance(dynamics, Piecewise) else dynamics
