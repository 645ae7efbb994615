"""Leave the user's model untouched: modules in eval mode, without parameter gradients, and then as they were."""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn


def modules_in(*things: object, depth: int = 6) -> list[nn.Module]:
    """The modules that models are made of: themselves, what they hold, what their code closes over or names.

    Args:
        *things: models, objectives, functions, or containers of them.
        depth: how many references to follow before giving up.
    """
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    level = list(things)
    for _ in range(depth):
        following: list[object] = []
        for thing in level:
            if id(thing) in seen or isinstance(thing, _LEAVES):
                continue
            seen.add(id(thing))
            if isinstance(thing, nn.Module):
                found[id(thing)] = thing
            else:
                following.extend(_held_by(thing))
        level = following
    return list(found.values())


_LEAVES = (Tensor, str, bytes, int, float, complex, type, types.ModuleType, types.BuiltinFunctionType, type(None))


def _held_by(thing: object) -> list[object]:
    """What a thing refers to: parts of a container, names in a function, attributes and methods of an object."""
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, types.FunctionType):
        return _named_in(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    held = list(getattr(thing, "__dict__", {}).values())
    for kind in type(thing).__mro__[:-1]:
        for name, member in vars(kind).items():
            if _is_filled_slot(member, thing):
                held.append(member.__get__(thing))
            elif name == "__call__" or not name.startswith("__"):
                held.append(member)
    return held


def _is_filled_slot(member: object, thing: object) -> bool:
    """Whether a class member is a slot (an attribute that no instance dictionary shows) with something in it."""
    if not isinstance(member, types.MemberDescriptorType):
        return False
    try:
        member.__get__(thing)
    except AttributeError:
        return False
    return True


def _named_in(function: types.FunctionType) -> list[object]:
    """What a function closes over, what it names of its module's globals, and its default arguments."""
    held: list[object] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a name that is not bound yet
            continue
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        held += [function.__globals__[name] for name in code.co_names if name in function.__globals__]
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return held


class _Flag(NamedTuple):
    """A flag of a module or parameter that is held at False: what it was, and how many calls hold it."""

    owner: nn.Module | nn.Parameter
    was: bool
    holders: int


# Threads may plan in one model at once, and a callback may plan in the model that it was called from. The first to
# freeze a flag knows what it was, and only the last to let go may put it back; both must see the same count.
_HELD: dict[int, _Flag] = {}
_LOCK = threading.Lock()


@contextmanager
def frozen(*things: object) -> Iterator[None]:
    """Every module of a model or objective in eval mode and without parameter gradients, then exactly as it was.

    Planning differentiates with respect to actions and states only; a graph to the weights would cost memory, and a
    model left in training mode would move its own statistics (batch norm) or answer at random (dropout). Calls may
    overlap, in several threads or one within the other: the model is woken up when the last of them ends.
    """
    modules = {id(m): m for root in modules_in(*things) for m in root.modules()}
    parameters = {id(p): p for module in modules.values() for p in module.parameters(recurse=False)}
    ours: list[nn.Module | nn.Parameter] = []
    try:
        with _LOCK:
            for owner in [*modules.values(), *parameters.values()]:
                held = _HELD.get(id(owner))
                _HELD[id(owner)] = held._replace(holders=held.holders + 1) if held else _Flag(owner, _flag(owner), 1)
                ours.append(owner)
                _set_flag(owner, False)
        yield
    finally:
        with _LOCK:
            for owner in ours:
                held = _HELD.pop(id(owner))
                if held.holders > 1:
                    _HELD[id(owner)] = held._replace(holders=held.holders - 1)
                else:
                    _set_flag(owner, held.was)


def _flag(owner: nn.Module | nn.Parameter) -> bool:
    return owner.training if isinstance(owner, nn.Module) else owner.requires_grad


def _set_flag(owner: nn.Module | nn.Parameter, value: bool) -> None:
    if isinstance(owner, nn.Module):
        owner.training = value  # not .train(): that may be overridden to do more than set the flag
    else:
        owner.requires_grad_(value)
