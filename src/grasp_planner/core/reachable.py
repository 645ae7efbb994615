"""Find the modules of a model, without running any code of the model."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Iterable, Iterator

from torch import Tensor, nn


def modules_in(*things: object) -> list[nn.Module]:
    """Find the modules that models hold, close over, or name in their code, and the modules inside these modules."""
    return modules_among(reachable(*things))


def modules_among(things: Iterable[object]) -> list[nn.Module]:
    """Return the modules among ``things``, and the modules inside these modules."""
    found: dict[int, nn.Module] = {}
    for thing in things:
        if issubclass(type(thing), nn.Module):
            assert isinstance(thing, nn.Module)
            # Only this method lists the submodules of a scripted module.
            found |= {id(module): module for module in thing.modules() if id(module) not in found}
    return list(found.values())


def reachable(*things: object, most: int = 50_000) -> Iterator[object]:
    """Yield the objects that ``things`` refer to, directly or indirectly, nearest first and each once.

    Args:
        *things: models, objectives, functions, or containers of them.
        most: largest number of objects that the search visits.
    """
    seen: dict[int, object] = {}  # the objects are kept alive, so that no two objects have the same id
    level = list(things)
    while level and len(seen) < most:
        following: list[object] = []
        for thing in level:
            if type(thing) in _PROXIES:
                thing = _behind(thing)
            if issubclass(type(thing), _LEAVES) or id(thing) in seen:
                continue
            seen[id(thing)] = thing
            yield thing
            following += _held_by(thing)
        level = following


_LEAVES = (Tensor, str, bytes, int, float, complex, types.ModuleType, types.BuiltinFunctionType, type(None))
_PROXIES = (weakref.ProxyType, weakref.CallableProxyType)

# The code of these packages names no module of a user's model, but most objects of the package.
_LIBRARIES = frozenset((*sys.stdlib_module_names, "torch", "numpy", "jaxtyping", "beartype", __name__.split(".")[0]))
_MAKING = ("__init__", "__new__", "__post_init__", "__init_subclass__", "__class_getitem__", "__set_name__")


def _behind(proxy: object) -> object:
    """Return the object of a weak proxy; ``None`` if the object no longer exists."""
    try:
        return proxy.__dir__.__self__  # type: ignore[attr-defined]
    except ReferenceError:
        return None


def _held_by(thing: object) -> list[object]:
    """List what an object refers to."""
    if issubclass(type(thing), type):
        return _members(thing)  # type: ignore[arg-type]
    if isinstance(thing, types.FunctionType):
        return _named_in(thing)
    if isinstance(thing, weakref.ReferenceType):
        return [thing()]
    # The garbage collector knows the contents of every container, also of containers written in C, and runs no code.
    return gc.get_referents(thing)


def _members(cls: type) -> list[object]:
    """List the attributes and methods of a class and of its bases, except for methods that only create an object."""
    if _is_library(cls.__module__):
        return []
    own = [
        member
        for name, member in vars(cls).items()
        if not name.startswith("__") or (isinstance(member, types.FunctionType) and name not in _MAKING)
    ]
    return [*own, *cls.__bases__]


def _named_in(function: types.FunctionType) -> list[object]:
    """List what a function closes over, its attributes and defaults, and what its code names in its module."""
    held: list[object] = [function.__defaults__, function.__kwdefaults__, function.__dict__]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a name that is not bound yet
            continue
    if _is_library(function.__module__):
        return held
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    named = [function.__globals__[name] for name in names if name in function.__globals__]
    named += [sys.modules[name] for name in names if name in sys.modules]  # imported inside the function
    return held + _with_attributes([*held, *named], names)


def _with_attributes(things: list[object], names: set[str]) -> list[object]:
    """List ``things``, with every imported module replaced by those of its attributes that are in ``names``."""
    found: list[object] = []
    seen: set[int] = set()
    while things:
        thing = things.pop()
        if not isinstance(thing, types.ModuleType):
            found.append(thing)
        elif id(thing) not in seen and not _is_library(thing.__name__):
            seen.add(id(thing))
            things += [vars(thing)[name] for name in names if name in vars(thing)]
    return found


def _is_library(module: object) -> bool:
    return isinstance(module, str) and module.split(".")[0] in _LIBRARIES
