"""The check of a plan or state that was read from a file: every field has the type and shape of its annotation."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import torch
from jaxtyping import AbstractArray, jaxtyped
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Plan, Status, WarmStart
from grasp_planner.planning.protocol import is_planner


def field_names(cls: type) -> list[str]:
    """List the fields of a dataclass or named tuple; empty for other types."""
    return [part.name for part in fields(cls)] if is_dataclass(cls) else list(getattr(cls, "_fields", ()))


def check_structure(value: Any, cls: type, place: str) -> None:
    """Check every field of a dataclass or named tuple against its annotation, and the fields of its fields.

    Args:
        value: what was read.
        cls: the type that is needed.
        place: the name of ``value`` in errors.

    Raises:
        GraspPlannerError: a field has another type or shape, or its number is not finite; the error names the field.
    """
    if type(value) is not cls:
        raise _wrong(place, cls.__name__, value)
    hints = get_type_hints(cls)
    with jaxtyped("context"):  # the sizes b, t, a have one value in all fields
        arrays = [name for name in field_names(cls) if _is_array(hints[name])]
        for name in arrays:
            _check(getattr(value, name), hints[name], f"{place}.{name}")
    for name in field_names(cls):
        if name not in arrays:
            _check(getattr(value, name), hints[name], f"{place}.{name}")
    if isinstance(value, Plan):
        _check_plan(value, place)
    if isinstance(value, WarmStart):
        _check_warm_start(value, place)


def _check(value: Any, hint: Any, place: str) -> None:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        _check_any(value, place)
    elif origin in (Union, UnionType):
        if value is not None or NoneType not in inner:
            _check_one_of(value, [one for one in inner if one is not NoneType], place)
    elif origin is Literal:
        if value not in inner:
            raise _wrong(place, f"one of {', '.join(map(repr, inner))}", value)
    elif origin is tuple:
        if type(value) is not tuple or (inner[-1] is not ... and len(value) != len(inner)):
            raise _wrong(place, "a tuple" if inner[-1] is ... else f"a tuple of {len(inner)}", value)
        for number, one in enumerate(value):
            _check(one, inner[0] if inner[-1] is ... else inner[number], f"{place}[{number}]")
    elif hint is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _wrong(place, "a finite number", value)
    elif hint is int:
        if type(value) is not int or abs(value) >= 2**63:
            raise _wrong(place, "a whole number", value)
    elif field_names(hint):
        check_structure(value, hint, place)
    elif Protocol in getattr(hint, "__mro__", ()):
        if not is_planner(value):
            raise _wrong(place, "a planner", value)
        check_structure(value, type(value), place)
    elif not isinstance(value, hint):
        raise _wrong(place, _name(hint), value)


def _check_one_of(value: Any, hints: list[Any], place: str) -> None:
    if len(hints) == 1:
        return _check(value, hints[0], place)
    for hint in hints:
        try:
            return _check(value, hint, place)
        except GraspPlannerError:
            continue
    raise _wrong(place, " or ".join(map(_name, hints)), value)


def _check_any(value: Any, place: str) -> None:
    """Check a value whose type is not known in advance, such as the state of a planner, by its own annotations."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(place, "a finite number", value)
    if field_names(type(value)):
        check_structure(value, type(value), place)
    elif isinstance(value, tuple):
        for number, one in enumerate(value):
            _check_any(one, f"{place}[{number}]")


def _check_plan(plan: Plan, place: str) -> None:
    batch, steps = len(plan.actions), len(plan.trace.cost)
    if not bool(torch.isfinite(plan.actions).all()):
        raise _wrong(f"{place}.actions", "finite numbers", "NaN or infinity")
    if not set(plan.status.tolist()) <= set(Status):
        raise _wrong(f"{place}.status", f"values from {min(Status)} to {max(Status)}", plan.status.tolist())
    for name in ("steps", "seconds", "transitions", "calls"):
        if getattr(plan, name) < 0:
            raise _wrong(f"{place}.{name}", "a number of at least 0", getattr(plan, name))
    if not len(plan.trace.seconds) == len(plan.trace.transitions) == steps:
        raise _wrong(f"{place}.trace", f"{steps} rows, one for each cost", f"{len(plan.trace.seconds)} times")
    for name, tensor in (
        ("trace.cost", plan.trace.cost.mT),
        ("warm_start.actions", plan.warm_start.actions),
        *((("violation", plan.violation),) if plan.violation is not None else ()),
        *((f"trace.snapshots[{number}].actions", one.actions) for number, one in enumerate(plan.trace.snapshots)),
    ):
        if len(tensor) != batch:
            raise _wrong(f"{place}.{name}", f"{batch} problems, as in {place}.actions", f"{len(tensor)} problems")


def _check_warm_start(start: WarmStart, place: str) -> None:
    if start.planner is None:
        return
    planner = start.planner
    if is_planner(planner):
        state = get_type_hints(type(planner).init).get("return", Any) if start.state is not None else Any
        if inspect.isclass(state) and type(start.state) is not state:
            raise _wrong(f"{place}.state", state.__name__, start.state)
    elif not is_dataclass(planner):
        raise _wrong(f"{place}.planner", "a planner", planner)


def _is_array(hint: Any) -> bool:
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


def _wrong(place: str, needed: str, value: Any) -> GraspPlannerError:
    got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:60]
    return GraspPlannerError(f"{place} must be {needed}, got {got}")
