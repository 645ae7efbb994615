"""Exceptions. Each message says what was needed, what was got, and what to do."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

LONGEST_NAME = 200
"""Largest number of letters of an unknown name in a message."""


class GraspPlannerError(ValueError):
    """Base class of every error that this package raises on purpose.

    >>> from grasp_planner import GraspPlannerError
    >>> issubclass(GraspPlannerError, ValueError)
    True
    """


class MissingExtraError(GraspPlannerError, ImportError):
    """Raised where an optional package is needed and is not installed. The message names the extra to install."""


class TooLargeError(GraspPlannerError):
    """Raised by a planner whose settings do not allow a problem of this size."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Return the error to raise where an optional package could not be imported.

    Args:
        package: the package as it is named on the package index, e.g. ``"pymunk"``.
        extra: the extra of grasp-planner that installs the package, e.g. ``"envs"``.
        purpose: what the package is needed for, e.g. ``"the Push-T simulator"``.
    """
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed: pip install 'grasp-planner[{extra}]'"
    )


def plain_name(name: str) -> str:
    """Return a name without case, dashes and underscores: two spellings of one name give the same string.

    >>> {plain_name(spelling) for spelling in ("push_t", "push-t", "PushT")}
    {'pusht'}
    """
    return name.lower().replace("-", "").replace("_", "")


def known_name(kind: str, name: str, known: Iterable[str], also: Mapping[str, str] | None = None) -> str:
    """Return the registered spelling of a name that may be given in any case, with dashes or underscores.

    Args:
        kind: what is named, as the error says it, e.g. ``"planner"``.
        name: the name in any spelling. A registered spelling always means itself.
        known: the registered names.
        also: further names, and the registered name that each stands for.

    Raises:
        GraspPlannerError: no registry knows the name; the nearest known name is suggested.

    >>> known_name("planner", "Random-Shooting", ["random_shooting", "gd"])
    'random_shooting'
    """
    known = list(known)
    if name in known:
        return name
    spelt = {plain_name(one): full for one, full in (also or {}).items()} | {plain_name(one): one for one in known}
    if (full := spelt.get(plain_name(name))) is None:
        raise unknown_name(kind, name, known)
    return full


def unknown_name(kind: str, name: str, known: Iterable[str]) -> GraspPlannerError:
    """Return the error for an unknown name, with the nearest known name as a suggestion."""
    plain = {plain_name(one): one for one in known}
    name = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    near = difflib.get_close_matches(plain_name(name), plain, n=1)
    hint = f"did you mean {plain[near[0]]!r}? " if near else ""
    return GraspPlannerError(f"unknown {kind} {name!r}: {hint}known are {', '.join(sorted(plain.values()))}")


def reason_of(error: BaseException) -> str:
    """Describe an exception in one line, with the place where it was raised.

    The messages of this package say what to do, so that they need neither type nor place.

    >>> reason_of(KeyError("angle")), reason_of(GraspPlannerError("needed a planner"))
    ("KeyError: 'angle'", 'needed a planner')
    """
    text = " ".join(str(error).split())
    if isinstance(error, GraspPlannerError):
        return text
    found = [] if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)  # its text has a place
    place = f" ({Path(found[-1].filename).name}, line {found[-1].lineno})" if found else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"
