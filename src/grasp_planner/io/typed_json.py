"""Convert dataclasses to JSON values, and JSON values to dataclasses, with checks against the types of the fields."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from grasp_planner.core.errors import GraspPlannerError, unknown_name

T = TypeVar("T")


def to_json(value: Any, digits: int = 7) -> Any:
    """Convert dataclasses, mappings, sequences and paths to JSON values.

    Floats are rounded to ``digits`` significant digits. Floats that are not finite become ``None``, because JSON has
    no such numbers. Fields of a dataclass whose default is ``None`` are left out if their value is ``None``.

    >>> to_json({"x": (1 / 3, float("inf"), 2)})
    {'x': [0.3333333, None, 2]}
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: to_json(one, digits) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one, digits) for one in value]
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        held = {one.name: getattr(value, one.name) for one in fields(value)}
        optional = {one.name for one in fields(value) if one.default is None}
        return {name: to_json(one, digits) for name, one in held.items() if one is not None or name not in optional}
    return value


def from_json(kind: type[T], value: Any, place: str = "") -> T:
    """Convert JSON values to a dataclass, whose fields decide what is accepted.

    Args:
        kind: the dataclass. Fields may be ``str``, ``int``, ``float``, ``bool``, ``Any``, literals, ``X | None``,
            paths, dataclasses, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``, ``dict[str, X]`` and
            ``Mapping[str, X]``. Floats must be finite.
        value: the JSON values. A field may already hold an instance of its dataclass.
        place: the place of ``value`` in error messages, such as a file and a line.

    Raises:
        GraspPlannerError: a field is missing, unknown, or of another type, or the dataclass refuses its values; the
            error names the place and the field.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: float
    ...     label: str = "origin"
    >>> from_json(Point, {"x": 2})
    Point(x=2.0, label='origin')
    """
    return _decoded(kind, value, _Place(place, ""))


@dataclass(frozen=True)
class _Place:
    """The place of a value: the caller's description, and the path of fields below it."""

    outer: str
    path: str

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.outer, f"field {self.path!r}" if self.path else "")))

    def field(self, name: str) -> _Place:
        return _Place(self.outer, f"{self.path}.{name}" if self.path else name)

    def item(self, number: int) -> _Place:
        return _Place(self.outer, f"{self.path}[{number}]")

    def error(self, problem: object) -> GraspPlannerError:
        return GraspPlannerError(f"{self}: {problem}" if str(self) else str(problem))

    def wrong(self, needed: str, value: Any) -> GraspPlannerError:
        text = reprlib.repr(value)
        return self.error(f"needed {needed}, got {text if len(text) <= 60 else text[:57] + '...'}")


PLAIN = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _decoded(kind: Any, value: Any, place: _Place) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        if is_dataclass(value) and type(value) in inner:
            return value
        (only,) = (one for one in inner if one is not NoneType)
        return None if value is None else _decoded(only, value, place)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in inner):
            raise place.wrong(f"one of {', '.join(map(repr, inner))}", value)
        return value
    if origin in (tuple, list):
        return _sequence(origin, inner, value, place)
    if origin is not None:
        if not isinstance(value, dict):
            raise place.wrong("values by name", value)
        return {name: _decoded(inner[1], one, place.field(name)) for name, one in value.items()}
    if is_dataclass(kind):
        return value if isinstance(value, kind) else _dataclass(kind, value, place)  # type: ignore[arg-type]
    if kind is Path:
        return Path(_decoded(str, value, place))
    if kind is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    if type(value) is not kind:
        raise place.wrong(PLAIN[kind], value)
    if kind is float and not math.isfinite(value):
        raise place.wrong("a finite number", value)
    return value


def _sequence(origin: Any, inner: tuple[Any, ...], value: Any, place: _Place) -> Any:
    if not isinstance(value, list):
        raise place.wrong("a list", value)
    kinds = [inner[0]] * len(value) if origin is list or inner[-1] is ... else list(inner)
    if len(kinds) != len(value):
        raise place.wrong(f"a list of {len(kinds)}", value)
    return origin(_decoded(kind, one, place.item(i)) for i, (kind, one) in enumerate(zip(kinds, value, strict=True)))


def _dataclass(kind: Any, value: Any, place: _Place) -> Any:
    if not isinstance(value, dict):
        raise place.wrong("fields by name", value)
    known = {one.name: one for one in fields(kind)}
    for name in value:
        if name not in known:
            raise place.error(unknown_name("field", name, known))
    hints, given = get_type_hints(kind), {}
    for name, one in known.items():
        if name in value:
            given[name] = _decoded(hints[name], value[name], place.field(name))
        elif one.default is MISSING and one.default_factory is MISSING:
            raise place.error(f"the field {name!r} is missing")
    try:
        return kind(**given)
    except (GraspPlannerError, TypeError) as error:
        raise place.error(error) from error
