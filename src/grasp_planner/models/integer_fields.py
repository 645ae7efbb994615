"""Checks of integers in the configurations of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grasp_planner.core.errors import GraspPlannerError


def check_integers(config: Any, least: Mapping[str, int]) -> None:
    """Check that fields of a dataclass are integers of at least the given value.

    Raises:
        GraspPlannerError: a field has another type or is too small.
    """
    for name, smallest in least.items():
        value = getattr(config, name)
        if type(value) is not int or value < smallest:
            raise GraspPlannerError(f"{type(config).__name__}.{name} must be an integer >= {smallest}, got {value!r}")
