"""Spaces: which settings of a planner are tried, as data; and planners from settings."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.planners import PLANNERS
from grasp_planner.planning.protocol import Planner

FILE = Path(__file__).parent / "spaces.toml"

Settings = dict[str, Any]
"""A planner as JSON values: ``"name"`` of ``PLANNERS``, and its fields; a planner inside likewise."""


@cache
def spaces() -> Mapping[str, Mapping[str, Any]]:
    """The spaces that come with the package: name -> what the file says of it.

    >>> sorted(spaces())
    ['cem', 'gd', 'grasp', 'icem', 'latco', 'mppi']
    """
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def drawn(space: str, trial: int, change: Mapping[str, Any] | None = None) -> Settings:
    """The settings of one trial: the same whenever and wherever they are drawn.

    A field of the space is a value, ``{choice = [..]}``, ``{log = [low, high]}`` (uniform in the logarithm, rounded to
    three digits), ``{uniform = [low, high]}`` or ``{share_of = "field", choice = [..]}`` (that share of another field,
    rounded, at least 2). A dot leads into a planner inside.

    Args:
        space: one of ``spaces()``.
        trial: its number, from 0.
        change: values that replace what was drawn.

    Raises:
        GraspPlannerError: no such space, or an entry that is none of these.

    >>> drawn("cem", 0) == drawn("cem", 0) != drawn("cem", 1)
    True
    """
    if space not in spaces():
        raise unknown_name("space of settings", space, spaces())
    rng = random.Random(f"{space}/{trial}")
    flat: dict[str, Any] = {}
    for field, law in spaces()[space].items():
        flat[field] = _value(law, rng, flat)
    return changed(_nested(flat), change)


def changed(settings: Settings, change: Mapping[str, Any] | None) -> Settings:
    """The same settings with some replaced; ``"none"`` stands for no planner inside.

    >>> changed({"name": "grasp", "sync": {"name": "gd", "rate": 0.1}}, {"sync.rate": 0.2, "state_noise": 0.0})
    {'name': 'grasp', 'sync': {'name': 'gd', 'rate': 0.2}, 'state_noise': 0.0}
    """
    flat = _flat(settings)
    for field, value in (change or {}).items():
        if value == "none":
            flat = {name: one for name, one in flat.items() if not name.startswith(f"{field}.")}
            value = None
        flat[field] = value
    return _nested(flat)


def planner_of(settings: Mapping[str, Any]) -> Planner:
    """The planner that settings describe; the inverse of ``bench.evaluate.described``.

    Raises:
        GraspPlannerError: an unknown planner or field, or a setting out of range.

    >>> planner_of({"name": "gd", "rate": 0.2}).rate
    0.2
    """
    given = dict(settings)
    name = given.pop("name", None)
    if name not in PLANNERS:
        raise unknown_name("planner", str(name), PLANNERS)
    known = {one.name for one in fields(PLANNERS[name])}
    for field, value in given.items():
        if field not in known:
            raise unknown_name(f"setting of {name}", field, known)
        if isinstance(value, Mapping):
            given[field] = planner_of(value)
    return PLANNERS[name](**given)


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


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat


def _nested(flat: Mapping[str, Any]) -> Settings:
    nested: Settings = {}
    for field, value in flat.items():
        place, *rest = field.split(".")
        if rest:
            nested.setdefault(place, {})[".".join(rest)] = value
        else:
            nested[place] = value
    return {name: _nested(value) if isinstance(value, dict) else value for name, value in nested.items()}
