"""Errors: each says what was needed, what was got, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GraspPlannerError(ValueError):
    """Base of every error that this package raises on purpose.

    >>> from grasp_planner import GraspPlannerError
    >>> issubclass(GraspPlannerError, ValueError)
    True
    """


class MissingExtraError(GraspPlannerError, ImportError):
    """An optional package is needed and is not installed; the message names the extra."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """The error to raise where an optional package could not be imported.

    Args:
        package: the package as it is named on the package index, e.g. ``"pymunk"``.
        extra: the extra of grasp-planner that brings it, e.g. ``"envs"``.
        purpose: what it is needed for, e.g. ``"the Push-T simulator"``.
    """
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed: pip install 'grasp-planner[{extra}]'"
    )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> GraspPlannerError:
    """The error for a name that no registry knows, with the nearest known name as a suggestion."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return GraspPlannerError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known)}")
