"""Changes of the settings of planners, which are JSON values: names, wrapping, texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grasp_planner.control.planner_files import NONE, Settings, settings_of
from grasp_planner.core.errors import known_name
from grasp_planner.planners.presets import PRESETS
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.augmented_lagrangian import AugmentedLagrangian
from grasp_planner.planning.multi_start import MultiStart
from grasp_planner.planning.protocol import Planner
from grasp_planner.planning.sequential import Sequential

RECOMMENDED = "recommended"  # name of the settings that `recommended()` returns
TUNED = "tuned"  # value in settings of an outer planner that marks the place of the tuned planner


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
    flat = flat_settings(settings)
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


def flat_settings(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Convert nested settings to settings with dotted names.

    >>> flat_settings({"name": "grasp", "sync": {"name": "gd"}})
    {'name': 'grasp', 'sync.name': 'gd'}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flat_settings(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat
