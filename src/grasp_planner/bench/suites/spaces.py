"""Spaces: the settings of a planner that tuning tries, as data."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from grasp_planner.bench.suites.settings import changed, fixed_settings, nested
from grasp_planner.control.planner_files import Settings
from grasp_planner.core.errors import GraspPlannerError, known_name

FILE = Path(__file__).parent / "spaces.toml"
KNOWN = "known"  # the field of a space that lists known good settings


@cache
def spaces() -> Mapping[str, Mapping[str, Any]]:
    """Return the spaces of the package: name -> content of the file, with the settings of presets instead of names.

    >>> sorted(spaces())
    ['cem', 'gauss_newton', 'gd', 'grasp', 'icem', 'latco', 'mppi']
    """
    content = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: {**space, KNOWN: [fixed_settings(one) for one in space.get(KNOWN, [])]} for name, space in content.items()
    }


def known_settings(space: str) -> list[Settings]:
    """Return the known good settings of a space, which are its first trials.

    Raises:
        GraspPlannerError: there is no such space.
    """
    return spaces()[known_name("space of settings", space, spaces())][KNOWN]


def drawn(space: str, trial: int, change: Mapping[str, Any] | None = None) -> Settings:
    """Draw the settings of one trial. A space and a number always give the same settings.

    The first trials are the known settings of the space, in their order. Every later trial is drawn at random. A field
    of a space is one of the following; a dot in its name leads to a field of an inner planner:

    - a value;
    - ``{choice = [..]}``, one of the listed values;
    - ``{log = [low, high]}``, uniform in the logarithm, rounded to three digits;
    - ``{uniform = [low, high]}``, rounded to three digits;
    - ``{share_of = "field", choice = [..]}``, one of the listed shares of another field, rounded, at least 2.

    The field ``known`` lists known settings, each as ``fixed_settings`` takes them.

    Args:
        space: one of ``spaces()``.
        trial: number of the trial, from 0.
        change: values that replace the drawn ones.

    Raises:
        GraspPlannerError: there is no such space, or an entry has another form.

    >>> drawn("cem", 0) == drawn("cem", 0) != drawn("cem", 1)
    True
    """
    space, known = known_name("space of settings", space, spaces()), known_settings(space)
    if trial < len(known):
        return changed(known[trial], change)
    return changed(settings_from(space, RandomDraws(f"{space}/{trial - len(known)}")), change)


class Draws(Protocol):
    """A source of values for the fields of a space: random numbers, or an optimiser of settings."""

    def choice(self, field: str, values: Sequence[Any]) -> Any:
        """Return one of the values."""

    def log(self, field: str, low: float, high: float) -> float:
        """Return a number between two positive numbers, where equal ratios count equally."""
        ...

    def uniform(self, field: str, low: float, high: float) -> float:
        """Return a number between two numbers."""
        ...


class RandomDraws:
    """Draw the values of a space at random. The same seed gives the same values."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)

    def choice(self, field: str, values: Sequence[Any]) -> Any:
        """Draw one of the values."""
        return self._rng.choice(values)

    def log(self, field: str, low: float, high: float) -> float:
        """Draw a number that is uniform in the logarithm."""
        return math.exp(self._rng.uniform(math.log(low), math.log(high)))

    def uniform(self, field: str, low: float, high: float) -> float:
        """Draw a number."""
        return self._rng.uniform(low, high)


def settings_from(space: str, draws: Draws) -> Settings:
    """Return settings of a space, whose values come from a source of draws, in the order of the space's fields."""
    flat: dict[str, Any] = {}
    for field, law in spaces()[known_name("space of settings", space, spaces())].items():
        if field != KNOWN:
            flat[field] = _value(field, law, draws, flat)
    return nested(flat)


def _value(field: str, law: Any, draws: Draws, earlier: Mapping[str, Any]) -> Any:
    if not isinstance(law, Mapping):
        return law
    if set(law) == {"share_of", "choice"}:
        return max(2, round(earlier[law["share_of"]] * draws.choice(field, law["choice"])))
    if set(law) == {"choice"}:
        return draws.choice(field, law["choice"])
    if set(law) == {"log"}:
        return float(f"{draws.log(field, *law['log']):.3g}")
    if set(law) == {"uniform"}:
        return float(f"{draws.uniform(field, *law['uniform']):.3g}")
    raise GraspPlannerError(
        f"a field of a space is a value, {{choice}}, {{log}}, {{uniform}} or {{share_of, choice}}; got {dict(law)}"
    )
