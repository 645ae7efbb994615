"""Conversion between planners and their settings, which are JSON values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from grasp_planner.core.errors import known_name, unknown_name
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.presets import PRESETS
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.augmented_lagrangian import AugmentedLagrangian
from grasp_planner.planning.multi_start import MultiStart
from grasp_planner.planning.protocol import Planner
from grasp_planner.planning.sequential import Sequential

Settings = dict[str, Any]
"""A planner as JSON values: ``"name"``, the name in ``PLANNERS``, and its fields. A field that holds a planner holds
the settings of that planner."""

RECOMMENDED = "recommended"  # name of the settings that `recommended()` returns
NONE = "none"  # value in a change that means: no planner in this field
TUNED = "tuned"  # value in settings of an outer planner that marks the place of the tuned planner


def planner_of(settings: Mapping[str, Any]) -> Planner:
    """Make a planner from its settings. Fields that the settings do not name keep their defaults.

    Raises:
        GraspPlannerError: a planner or field is unknown, or a setting is out of range.

    >>> planner_of({"name": "cem", "samples": 20, "elites": 4}).samples
    20
    """
    given = dict(settings)
    name = known_name("planner", str(given.pop("name", None)), PLANNERS)
    known = {one.name for one in fields(PLANNERS[name])}
    for field, value in given.items():
        if field not in known:
            raise unknown_name(f"setting of {name}", field, known)
        if isinstance(value, Mapping):
            given[field] = planner_of(value)
    return PLANNERS[name](**given)


def settings_of(planner: Any) -> Settings:
    """Describe a planner by its name and all its fields, defaults included.

    A planner that is not in ``PLANNERS`` is described by the name of its class.

    >>> from grasp_planner import GRASP
    >>> settings_of(GRASP())["sync"]["name"]
    'gd'
    """
    names = {cls: name for name, cls in PLANNERS.items()}
    content: Settings = {"name": names.get(type(planner), type(planner).__name__)}
    if not is_dataclass(planner):
        return content | {"settings": repr(planner)}
    for one in fields(planner):
        value = getattr(planner, one.name)
        content[one.name] = settings_of(value) if type(value) in names else value
    return content


def fixed_settings(planner: str | Mapping[str, Any]) -> Settings:
    """Return settings with names resolved.

    Args:
        planner: ``"recommended"`` for what ``recommended()`` returns, or the name of a preset, or settings in which a
            dot in a name leads to a field of an inner planner.

    Raises:
        GraspPlannerError: there is no preset of that name.

    >>> fixed_settings({"name": "multi_start", "planner.name": "gd", "planner.lr": 0.2})
    {'name': 'multi_start', 'planner': {'name': 'gd', 'lr': 0.2}}
    >>> fixed_settings("cem/dino-wm")["samples"]
    300
    """
    if not isinstance(planner, str):
        return changed(dict(planner), None)
    named = {RECOMMENDED: recommended(), **PRESETS}
    return settings_of(named[known_name("planner with fixed settings", planner, named)])


def planner_title(planner: Planner) -> str:
    """Return the display name of the algorithm, for example ``"GRASP"`` for GRASP inside of ``MultiStart``.

    >>> from grasp_planner import GD, GRASP, MultiStart, Sequential
    >>> planner_title(Sequential(MultiStart(GRASP()), GD()))
    'GRASP'
    """
    if isinstance(planner, (MultiStart, AugmentedLagrangian)):
        return planner_title(planner.planner)
    if isinstance(planner, Sequential):
        return planner_title(planner.first)
    return type(planner).__name__


def changed(settings: Settings, change: Mapping[str, Any] | None) -> Settings:
    """Replace some settings. A dot in a name leads into a planner inside; ``"none"`` removes a planner inside.

    >>> changed({"name": "grasp", "sync": {"name": "gd", "lr": 0.1}}, {"sync.lr": 0.2, "state_noise": 0.0})
    {'name': 'grasp', 'sync': {'name': 'gd', 'lr': 0.2}, 'state_noise': 0.0}
    """
    flat = _flat(settings)
    for field, value in (change or {}).items():
        if value == NONE:
            flat = {name: one for name, one in flat.items() if not name.startswith(f"{field}.")}
            value = None
        flat[field] = value
    return nested(flat)


def wrapped(settings: Settings, around: Mapping[str, Any] | None) -> Settings:
    """Put a planner inside another planner, in the field whose value is ``"tuned"``.

    >>> wrapped({"name": "grasp"}, {"name": "sequential", "first": "tuned", "second.name": "gd", "share": 0.15})
    {'name': 'sequential', 'first': {'name': 'grasp'}, 'second': {'name': 'gd'}, 'share': 0.15}
    """
    if around is None:
        return settings
    return nested({field: settings if value == TUNED else value for field, value in around.items()})


def nested(flat: Mapping[str, Any]) -> Settings:
    """Convert settings with dotted names to nested settings.

    >>> nested({"name": "grasp", "sync.name": "gd"})
    {'name': 'grasp', 'sync': {'name': 'gd'}}
    """
    found: Settings = {}
    for field, value in flat.items():
        place, *rest = field.split(".")
        if rest:
            found.setdefault(place, {})[".".join(rest)] = value
        else:
            found[place] = value
    return {name: nested(value) if isinstance(value, dict) else value for name, value in found.items()}


def settings_text(settings: Mapping[str, Any]) -> str:
    """Format settings in one line.

    >>> settings_text({"name": "grasp", "state_lr": 0.2, "sync": {"name": "gd", "lr": 0.1}})
    'grasp(state_lr 0.2, sync gd(lr 0.1))'
    """

    def text(value: Any) -> str:
        if isinstance(value, Mapping):
            return settings_text(value)
        return value if isinstance(value, str) else json.dumps(value)

    return f"{settings['name']}({', '.join(f'{name} {text(one)}' for name, one in settings.items() if name != 'name')})"


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat
