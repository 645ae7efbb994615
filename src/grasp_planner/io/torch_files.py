"""Read files of ``torch.save`` from untrusted sources: only tensors are read, and no code of a file is run.

``load_tensors`` reads files of tensors and plain values. ``read_parts`` reads files that hold pickled modules, as the
checkpoints of DINO-WM do: classes and functions that are named in the file become inert stand-ins, which keep the
attributes that they are given. Objects that are shared inside a file stay shared.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.broken_files import reading
from grasp_planner.io.limited import Budget
from grasp_planner.io.pickle_limits import MOST_NESTED, MOST_WORK
from grasp_planner.io.pickles import Inert
from grasp_planner.io.torch_archive import DTYPES, Archive, Entry, entry_of, open_archive

# Packages whose classes training scripts save together with the weights: optimisers, their settings, libraries for
# several GPUs. Their classes become stand-ins. A name from another package means that the file is not a checkpoint.
_STAND_INS = (
    "torch",
    "accelerate",
    "models",
    "dinov2",
    "src",
    "app",
    "numpy",
    "omegaconf",
    "argparse",
    "functools",
    "pathlib",
)
_BUILTINS = ("list", "dict", "tuple", "int", "float", "bool", "str", "getattr")
_PLAIN = (bool, int, float, str, bytes, type(None))
MOST_TENSORS = 50_000
"""Most tensors and modules in the entries of a checkpoint; a module that stands in two places counts twice."""


def load_tensors(path: Path) -> Any:
    """Read the tensors and plain values in a file of ``torch.save``, to the CPU.

    Raises:
        GraspPlannerError: the file is missing, broken or compressed, it is older than PyTorch 1.6, it claims more
            memory than its size justifies, or it holds objects of other types.
    """
    with reading(path, "tensor (torch.save)"), open_archive(path) as archive:
        content = archive.content(_Names(path, stand_ins=()).resolve)
        containers, entries = _walked(content)
        tensors = archive.tensors(entries)
        for container in containers:
            for key, value in container.items() if isinstance(container, dict) else enumerate(container):
                if not isinstance(key, (str, int, float)):
                    raise ValueError(f"needed a text or a number as the name of a value, got a {type(key).__name__}")
                container[key] = _placed(value, tensors)
        return _placed(content, tensors)


def _walked(content: Any) -> tuple[list[Any], list[Entry]]:
    """Collect the lists and dictionaries in what was unpickled, and its tensors, each once."""
    containers, entries, seen, left = [], [], set(), [content]
    while left:
        value = left.pop()
        if not isinstance(value, (dict, list, tuple, Entry)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Entry):
            entries.append(value)
            continue
        left += value.values() if isinstance(value, dict) else value
        if not isinstance(value, tuple):
            containers.append(value)
    return containers, entries


def _placed(value: Any, tensors: Mapping[Entry, Tensor]) -> Any:
    """The tensor of an entry, and a tuple with its tensors; lists, dictionaries and plain values as they are.

    Raises:
        ValueError: the value is something else.
    """
    if isinstance(value, Entry):
        return tensors[value]
    if isinstance(value, tuple):
        if not all(isinstance(one, (Entry, dict, list, *_PLAIN)) for one in value):
            raise ValueError("needed tuples of tensors, plain values, lists and dictionaries")
        return tuple(_placed(one, tensors) for one in value)
    if not isinstance(value, (dict, list, *_PLAIN)):
        raise ValueError(f"needed tensors, plain values, lists and dictionaries, got a {type(value).__name__}")
    return value


@dataclass(frozen=True)
class Part:
    """One entry of a checkpoint.

    Attributes:
        kind: the class of the entry, such as ``"models.vit.ViTPredictor"``; ``"dict"`` for plain tensors.
        tensors: its ``state_dict``, on the CPU, without the prefix ``"module."``. Tensors can share their memory.
    """

    kind: str
    tensors: dict[str, Tensor]


def read_parts(path: Path, names: Sequence[str]) -> dict[str, Part]:
    """Read the named entries of a dictionary that ``torch.save`` wrote. Missing entries are left out.

    Entries are pickled modules or dictionaries of tensors. Only the tensors of these entries are read from disk.

    Raises:
        GraspPlannerError: the file is missing, truncated, not a dictionary, TorchScript, or older than PyTorch 1.6; it
            claims more memory than its size justifies; or it names a class or function that no checkpoint needs. No
            code of the file is run.
    """
    if not path.is_file():
        raise GraspPlannerError(f"needed a checkpoint file, but there is none at {path}")
    try:
        with open_archive(path) as archive:
            return _parts(archive, path, names)
    except GraspPlannerError:
        raise
    except zipfile.BadZipFile as error:
        raise GraspPlannerError(
            f"{path} is truncated, or no file of torch.save since PyTorch 1.6 ({error}): copy it again"
        ) from error
    except Exception as error:  # a broken pickle can make the reader raise almost any exception
        raise GraspPlannerError(f"{path} cannot be read ({type(error).__name__}: {error}): copy it again") from error


def _parts(archive: Archive, path: Path, names: Sequence[str]) -> dict[str, Part]:
    content = archive.content(_Names(path, _STAND_INS).resolve)
    if not isinstance(content, dict):
        raise GraspPlannerError(f"{path} must hold a dictionary, got {_kind(content)}")
    wanted = {name: content[name] for name in names if content.get(name) is not None}
    for name, entry in wanted.items():
        if not isinstance(entry, (dict, StandIn)):
            raise GraspPlannerError(
                f"{name!r} in {path} must be a module or a dictionary of tensors, got {_kind(entry)}"
            )
    work = Budget(MOST_TENSORS, "tensors and modules, those in two places counted twice")
    found = {name: list(_entries_of(entry, work)) for name, entry in wanted.items()}
    tensors = archive.tensors(list({id(entry): entry for part in found.values() for _, entry in part}.values()))
    return {
        name: Part(_kind(wanted[name]), {key.removeprefix("module."): tensors[entry] for key, entry in part})
        for name, part in found.items()
    }


def _entries_of(part: dict[Any, Any] | StandIn, work: Budget) -> Iterator[tuple[str, Entry]]:
    if isinstance(part, StandIn):
        yield from _tensors_of(part, work)
        return
    for key, value in part.items():
        if isinstance(key, str) and isinstance(value, Entry):
            work.take(1)
            yield key, value


class StandIn:
    """An inert object that replaces an object of a refused class. It stores attributes and does nothing else."""

    __slots__ = ("states",)

    kind = ""

    states: tuple[Any, ...]

    def __new__(cls, *_args: Any, **_named: Any) -> StandIn:
        """Make a stand-in. The arguments of the original constructor are ignored."""
        made = object.__new__(cls)
        made.states = ()
        return made

    def __setstate__(self, state: Any) -> None:
        self.states = state if type(state) is tuple and len(state) == 2 else (state,)

    def attribute(self, name: str) -> Any:
        """The attribute of this name; ``None`` if there is none."""
        found = [state[name] for state in self.states if isinstance(state, dict) and name in state]
        return found[-1] if found else None

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Ignore an item. Pickles of containers call this method."""

    def extend(self, items: Any) -> None:
        """Ignore items."""

    def add(self, item: Any) -> None:
        """Ignore an item."""


class _Table(dict[Any, Any]):
    """An ``OrderedDict`` or ``defaultdict`` of a file; the attributes that the file gives it are ignored."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None: ...


class _Names:
    """What the names in a checkpoint stand for: tables, tensors that are read later, and stand-ins.

    Args:
        path: the file, for errors.
        stand_ins: packages whose classes and functions become stand-ins.
    """

    def __init__(self, path: Path, stand_ins: Sequence[str]) -> None:
        self.path, self.stand_ins = path, stand_ins
        self.work = Budget(MOST_WORK, "elements of sets")
        self.functions: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor_v2": entry_of,
            "torch._utils._rebuild_parameter": _tensor_alone,
            "torch._utils._rebuild_parameter_with_state": _tensor_alone,
            "collections.OrderedDict": _empty,
            "collections.defaultdict": _empty,
            "_codecs.encode": _no_bytes,
            "builtins.set": self._texts,
        }

    def resolve(self, module: str, name: str) -> Any:
        """Return the object for a name in the file.

        Raises:
            GraspPlannerError: no checkpoint needs this name.
        """
        full = f"{module}.{name}"
        if full in self.functions:
            return Inert(self.functions[full])
        known = (module == "builtins" and name in _BUILTINS) or (module == "torch" and name in DTYPES)
        if known or module.partition(".")[0] in self.stand_ins:
            return type(name, (StandIn,), {"kind": full, "__slots__": ()})
        raise GraspPlannerError(
            f"refused {self.path}: it names {full}, which no checkpoint needs. Nothing in the file was run. "
            "Do not open this file by other means unless you know where it comes from"
        )

    def _texts(self, items: Any = (), *_rest: Any) -> set[str]:
        """The strings of a set; other elements are left out."""
        if not isinstance(items, list):
            return set()
        self.work.take(len(items))
        return {item for item in items if type(item) is str}


def _tensor_alone(data: Any = None, *_rest: Any) -> Entry | None:
    """The tensor of a parameter."""
    return data if isinstance(data, Entry) else None


def _empty(*_rest: Any) -> _Table:
    """The table that the file fills later."""
    return _Table()


def _no_bytes(*_rest: Any) -> bytes:
    """Stands for bytes of a file, which no tensor needs."""
    return b""


def _tensors_of(module: StandIn, work: Budget, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Entry]]:
    """The ``state_dict`` of a pickled module, from the attributes in which ``torch.nn.Module`` keeps it."""
    if depth > MOST_NESTED:
        raise ValueError(f"modules are nested more than {MOST_NESTED} deep")
    skipped = module.attribute("_non_persistent_buffers_set")
    for group in ("_parameters", "_buffers"):
        for name, value in _named(module, group, work):
            if isinstance(value, Entry) and not (isinstance(skipped, set) and name in skipped):
                yield f"{prefix}{name}", value
    for name, child in _named(module, "_modules", work):
        if isinstance(child, StandIn):
            yield from _tensors_of(child, work, f"{prefix}{name}.", depth + 1)


def _named(module: StandIn, group: str, work: Budget) -> Iterator[tuple[str, Any]]:
    content = module.attribute(group)
    for name, value in content.items() if isinstance(content, dict) else ():
        work.take(1)
        if isinstance(name, str):
            yield name, value


def _kind(thing: Any) -> str:
    if isinstance(thing, StandIn):
        return type(thing).kind
    return "dict" if isinstance(thing, dict) else type(thing).__name__
