"""The planners that a command line can name, and which planner may stand inside which."""

from __future__ import annotations

from dataclasses import fields
from types import NoneType
from typing import Any, get_type_hints

from grasp_planner.cli.parsing import Choice, Option
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.presets import PRESETS
from grasp_planner.planning.protocol import Planner

NONE = "none"


def planner_choice(holder: type, hint: Any) -> Choice | None:
    """Return the planners that a field with the type hint ``Planner`` can hold, by name; ``None`` for other fields.

    A command's own field can hold every planner, with its default settings (``planner:grasp``) or with those of a
    preset (``planner:grasp/lewm``). A planner's field can hold the planners that contain no planner, and those
    planners around planners that come before it in ``PLANNERS``; so planners are nested to a limited depth.
    """
    if hint not in (Planner, Planner | None):
        return None
    options = {
        name.replace("_", "-"): Option(cls, (cls.__doc__ or "").strip().splitlines()[0])
        for name, cls in PLANNERS.items()
        if _depth(cls) < _depth(holder)
    }
    if hint != Planner:
        options[NONE] = Option(NoneType, "No planner.")
    if holder in PLANNERS.values():
        return Choice(f"planner inside {holder.__name__}", options)
    for name, settings in PRESETS.items():
        options[name] = Option(type(settings), f"{type(settings).__name__} with published settings.", settings)
    return Choice("planner", options)


def _depth(cls: type) -> int:
    """Return 0 for a planner without planners inside, and more for those that come later in ``PLANNERS``."""
    around = [one for one in PLANNERS.values() if _holds_planners(one)]
    if cls in around:
        return 1 + around.index(cls)
    return 0 if cls in PLANNERS.values() else 1 + len(around)


def _holds_planners(cls: type) -> bool:
    hints = get_type_hints(cls)
    return any(hints[one.name] in (Planner, Planner | None) for one in fields(cls))


def name_of(planner: Planner) -> str:
    """Return a planner's name in ``PLANNERS``."""
    return next(name for name, cls in PLANNERS.items() if type(planner) is cls)
