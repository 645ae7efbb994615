"""Checks of hyperparameters. Each error names the setting, the values that it accepts, and its value."""

from __future__ import annotations

import math

from grasp_planner.core.errors import GraspPlannerError


def at_least(planner: object, minimum: float, *names: str) -> None:
    """Raise unless each named setting is a finite number not below ``minimum``."""
    for name in names:
        value = getattr(planner, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < minimum:
            raise GraspPlannerError(f"{type(planner).__name__}.{name} must be a number >= {minimum}, got {value!r}")


def not_negative(name: str, value: object) -> None:
    """Raise unless a value is a finite number not below 0; ``name`` is the name of the value in the error."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise GraspPlannerError(f"{name} must be a number >= 0, got {value!r}")


def whole(planner: object, minimum: int, *names: str) -> None:
    """Raise unless each named setting is an integer not below ``minimum``."""
    for name in names:
        value = getattr(planner, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise GraspPlannerError(f"{type(planner).__name__}.{name} must be an integer >= {minimum}, got {value!r}")


def flag(planner: object, *names: str) -> None:
    """Raise unless each named setting is True or False."""
    for name in names:
        value = getattr(planner, name)
        if not isinstance(value, bool):
            raise GraspPlannerError(f"{type(planner).__name__}.{name} must be True or False, got {value!r}")


def one_of(planner: object, choices: tuple[str, ...], *names: str) -> None:
    """Raise unless each named setting is one of ``choices``."""
    for name in names:
        value = getattr(planner, name)
        if value not in choices:
            raise GraspPlannerError(f"{type(planner).__name__}.{name} must be one of {choices}, got {value!r}")


def between_zero_and_one(planner: object, *names: str) -> None:
    """Raise unless each named setting is a number from 0 to 1."""
    at_least(planner, 0, *names)
    for name in names:
        value = getattr(planner, name)
        if value > 1:
            raise GraspPlannerError(f"{type(planner).__name__}.{name} must be a number from 0 to 1, got {value!r}")
