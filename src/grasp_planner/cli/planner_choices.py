"""The planners that a command line can name, and which planners can be inside which planner."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from types import NoneType
from typing import Any, get_type_hints

from grasp_planner.bench.suites.settings import RECOMMENDED
from grasp_planner.cli.choices import Choice, Choices, Option
from grasp_planner.cli.configuration import NamedField
from grasp_planner.control.planner_files import DIGITS, NONE, load_planner, planner_of, settings_of
from grasp_planner.core.errors import GraspPlannerError, known_name
from grasp_planner.io.typed_json import to_json
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.presets import PRESETS
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.augmented_lagrangian import AugmentedLagrangian
from grasp_planner.planning.multi_start import MultiStart
from grasp_planner.planning.protocol import Planner
from grasp_planner.planning.sequential import Sequential

PLANNER_WORD = re.compile(r"planner(\.[\w.-]+)?:")  # planner:NAME, planner.planner:NAME


def planner_choice(holder: type, hint: Any) -> Choice | None:
    """Return the planners that a field with the type hint ``Planner`` can hold, by name; ``None`` for other fields.

    A command's own field can hold every planner, with its default settings (``planner:grasp``), with those of a preset
    (``planner:grasp/lewm``), or with those that we recommend (``planner:recommended``). A planner's field can hold the
    planners that contain no planner, and the planners around planners that come before it in ``PLANNERS``. The deepest
    nesting is therefore augmented-lagrangian, sequential, multi-start, grasp, and a planner that contains no planner.
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
    preset = recommended()
    options[RECOMMENDED] = Option(type(preset), f"The settings that we recommend: {parts(preset)}.", preset)
    for name, preset in PRESETS.items():
        options[name] = Option(type(preset), f"Preset: {label(preset)}.", preset)
    return Choice("planner", options)


def planner_choices(words: Sequence[str]) -> Choices:
    """Return ``planner_choice`` with the planner files that the words of a command line name, as ``planner:FILE``.

    Raises:
        GraspPlannerError: a word names a file that is no planner file, or two files differ in dashes only.
    """
    named = {word.partition(":")[2] for word in words if PLANNER_WORD.match(word)}
    files = {name: load_planner(name) for name in sorted(named) if name.endswith(".json")}
    spelt = {name.replace("_", "-"): name for name in files}  # tyro does not tell dashes from underscores
    for name in files:
        if (other := spelt[name.replace("_", "-")]) != name:
            raise GraspPlannerError(f"the planner files {other} and {name} differ in dashes only: rename one of them")

    def with_files(holder: type, hint: Any) -> Choice | None:
        choice = planner_choice(holder, hint)
        if choice is None or not files:
            return choice
        fitting = {name: one for name, one in files.items() if _depth(type(one)) < _depth(holder)}
        options = {name: Option(type(one), f"Planner file: {label(one)}.", one) for name, one in fitting.items()}
        return replace(choice, options={**choice.options, **options})

    return with_files


def _read_planner(value: Any) -> Planner:
    """Return the planner of a configuration file: the name of a planner, preset or planner file, or a table."""
    if isinstance(value, Mapping):
        return planner_of(value)
    if not isinstance(value, str):
        raise GraspPlannerError(f"needed the name of a planner, or a table with its name and settings, got {value!r}")
    if value.endswith(".json"):
        return load_planner(value)
    options = {**PRESETS, RECOMMENDED: recommended()}
    name = known_name("planner", value, [*PLANNERS, *options])
    return options[name] if name in options else planner_of({"name": name})


def _planner_table(planner: Planner) -> dict[str, Any]:
    """Return the settings of a planner without ``None``, which TOML does not have."""

    def without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: without_none(one) if isinstance(one, Mapping) else one for name, one in settings.items()}
        return {name: NONE if one is None else one for name, one in values.items()}

    return without_none(to_json(settings_of(planner), DIGITS))


PLANNER_FIELD = NamedField(
    name="planner",
    word=lambda name: f"planner:{name}",
    chosen=lambda words: any(word.startswith("planner:") for word in words),
    read=_read_planner,
    write=_planner_table,
)
"""The planner of a command, in its configuration files."""


def label(planner: Planner) -> str:
    """Return a short description of a planner for tables and progress bars: ``parts``, or ``"recommended"``.

    >>> from grasp_planner import CEM, recommended
    >>> label(recommended()), label(CEM())
    ('recommended', 'CEM')
    """
    return RECOMMENDED if planner == recommended() else parts(planner)


def parts(planner: Planner) -> str:
    """Return the algorithms that a planner consists of.

    >>> from grasp_planner import CEM, GD, MultiStart, Sequential
    >>> parts(CEM()), parts(Sequential(MultiStart(GD(), starts=8), GD()))
    ('CEM', 'GD from 8 starts, then GD')
    >>> parts(MultiStart(GD(), starts=8, race_starts=32))
    'GD from the best 8 of 32 starts'
    """
    if isinstance(planner, MultiStart):
        starts = (
            planner.starts if planner.race_starts is None else f"the best {planner.starts} of {planner.race_starts}"
        )
        kicks = "" if planner.restart_every is None else ", with restarts"
        return f"{parts(planner.planner)} from {starts} starts{kicks}"
    if isinstance(planner, AugmentedLagrangian):
        return f"{parts(planner.planner)} with multipliers"
    if isinstance(planner, Sequential):
        return f"{parts(planner.first)}, then {parts(planner.second)}"
    return type(planner).__name__


def _depth(cls: type) -> int:
    """Return 0 for planners that contain no planner, and larger numbers for planners later in ``PLANNERS``."""
    around = [one for one in PLANNERS.values() if _holds_planners(one)]
    if cls in around:
        return 1 + around.index(cls)
    return 0 if cls in PLANNERS.values() else 1 + len(around)


@cache
def _holds_planners(cls: type) -> bool:
    hints = get_type_hints(cls)
    return any(hints[one.name] in (Planner, Planner | None) for one in fields(cls))
