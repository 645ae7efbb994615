"""Spaces: the settings of a planner that tuning tries, as data."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from grasp_planner.bench.suites.settings import Settings, changed, fixed_settings, nested
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
    rng = random.Random(f"{space}/{trial - len(known)}")
    flat: dict[str, Any] = {}
    for field, law in spaces()[space].items():
        if field != KNOWN:
            flat[field] = _value(law, rng, flat)
    return changed(nested(flat), change)


def _value(law: Any, rng: random.Random, earlier: Mapping[str, Any]) -> Any:
    if not isinstance(law, Mapping):
        return law
    if set(law) == {"share_of", "choice"}:
        return max(2, round(earlier[law["share_of"]] * rng.choice(law["choice"])))
    if set(law) == {"choice"}:
        return rng.choice(law["choice"])
    if set(law) == {"log"}:
        low, high = law["log"]
        return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")
    if set(law) == {"uniform"}:
        return float(f"{rng.uniform(*law['uniform']):.3g}")
    raise GraspPlannerError(
        f"a field of a space is a value, {{choice}}, {{log}}, {{uniform}} or {{share_of, choice}}; got {dict(law)}"
    )
