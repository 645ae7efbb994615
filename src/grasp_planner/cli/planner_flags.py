"""A planner's dataclass as flags, and flags as a planner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field as new_field
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from grasp_planner.cli.parsing import described_fields
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.planners import PLANNERS
from grasp_planner.planning.protocol import Planner

NONE = "none"
INNER = tuple(name for name in PLANNERS if name != "grasp")  # what may stand inside another planner


def planner_class(name: str) -> type:
    """The planner of that name, spelt with ``-`` or ``_``.

    Raises:
        GraspPlannerError: there is none; suggests the nearest.
    """
    plain = name.replace("-", "_")
    if plain not in PLANNERS:
        raise unknown_name("planner", name, PLANNERS)
    return PLANNERS[plain]


def is_inner_planner(cls: type, name: str) -> bool:
    """Whether a field holds another planner.

    >>> from grasp_planner import GRASP
    >>> is_inner_planner(GRASP, "sync"), is_inner_planner(GRASP, "state_lr")
    (True, False)
    """
    return get_type_hints(cls)[name] in (Planner, Planner | None)


def flags_of(defaults: Planner, inner: dict[str, Planner | None]) -> type:
    """A dataclass that tyro turns into flags: every field of a planner, with its help and its default.

    A field that holds a planner becomes two: its name (``--planner.sync cem``) and, nested, that planner's own fields
    (``--planner.sync.samples 64``).

    Args:
        defaults: where the defaults come from.
        inner: the planner inside, for each field that holds one; decides which nested flags there are.
    """
    import tyro

    cls, entries = type(defaults), []
    hints, explained = get_type_hints(cls), described_fields(cls)
    for one in fields(cls):  # type: ignore[arg-type]
        argument = tyro.conf.arg(help=explained.get(one.name, ""))
        if not is_inner_planner(cls, one.name):
            entries.append((one.name, Annotated[hints[one.name], argument], getattr(defaults, one.name)))
            continue
        if one.name not in inner:
            continue  # a planner inside a planner inside a planner keeps its default
        inside = inner[one.name]
        listed = tyro.conf.arg(help=explained.get(one.name, ""), metavar=choices((*INNER, NONE)))
        entries.append((one.name, Annotated[str, listed], NONE if inside is None else name_of(inside)))
        if inside is not None:
            nested = flags_of(inside, {})
            named = tyro.conf.arg(name=one.name)
            entries.append((f"{one.name}_settings", Annotated[nested, named], new_field(default_factory=nested)))
    made = make_dataclass(f"{cls.__name__}Flags", entries, frozen=True)
    made.__doc__ = (cls.__doc__ or "").strip().splitlines()[0]
    return made


def choices(names: Iterable[str]) -> str:
    """Names as tyro shows what can be chosen."""
    return f"{{{','.join(names)}}}"


def planner_from(cls: type, flags: Any) -> Planner:
    """The planner that flags describe.

    Raises:
        GraspPlannerError: a setting is out of range.
    """
    values, given = {}, {one.name for one in fields(flags)}
    for one in fields(cls):
        if one.name not in given:
            continue
        values[one.name] = getattr(flags, one.name)
        if is_inner_planner(cls, one.name):
            chosen = values[one.name]
            nested = None if chosen == NONE else getattr(flags, f"{one.name}_settings")
            values[one.name] = None if nested is None else planner_from(planner_class(chosen), nested)
    return cls(**values)


def name_of(planner: Planner) -> str:
    """A planner's name in ``PLANNERS``."""
    return next(name for name, cls in PLANNERS.items() if type(planner) is cls)


def inner_planners(defaults: Planner, inside: dict[str, str]) -> dict[str, Planner | None]:
    """Which planners stand inside ``defaults``, where the command line names others.

    Args:
        defaults: the settings to begin with.
        inside: name of a field -> name of the planner to stand there, or ``"none"``.

    Raises:
        GraspPlannerError: a name that is not a planner's, or one that cannot stand inside another.
    """
    inner: dict[str, Planner | None] = {}
    for one in fields(type(defaults)):  # type: ignore[arg-type]
        if not is_inner_planner(type(defaults), one.name):
            continue
        present, wanted = getattr(defaults, one.name), inside.get(one.name)
        if wanted == NONE:
            present = None
        elif wanted is not None and (present is None or name_of(present) != wanted.replace("-", "_")):
            if planner_class(wanted) is PLANNERS["grasp"]:
                raise GraspPlannerError(
                    f"{one.name} takes another planner: {', '.join(INNER)} or {NONE}, got {wanted!r}"
                )
            present = planner_class(wanted)()
        inner[one.name] = present
    return inner
