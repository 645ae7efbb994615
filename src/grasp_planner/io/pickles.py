"""Reads tensors out of PyTorch files that hold pickled objects, and runs nothing that is in them.

``torch.load`` on such a file builds the objects, which calls whatever the file names. Here a name in the file leads to
one of a few functions of this module or to an inert stand-in that keeps attributes and does nothing else; every other
name is refused before anything is built.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.untrusted import check_archive, check_pickle

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What training scripts leave beside the weights: optimisers, their settings, the library that drives several GPUs.
# None of it is built; these become stand-ins. A name outside of this list means that the file is something else.
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
MOST_REPEATED = 2**24
"""Entries of a tensor that has more of them than its storage (an expanded one)."""
_DATA = {"list": list, "dict": dict, "set": set, "tuple": tuple, "int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class Part:
    """One entry of a checkpoint.

    Attributes:
        kind: the class it was pickled from, such as ``"models.vit.ViTPredictor"``; ``"dict"`` for plain tensors.
        tensors: its ``state_dict``, on the CPU, without a ``"module."`` in front of the names.
    """

    kind: str
    tensors: dict[str, Tensor]


def read_parts(path: Path, names: Sequence[str]) -> dict[str, Part]:
    """The named entries of a dictionary that ``torch.save`` wrote; those that are not there are left out.

    Entries are pickled modules or dictionaries of tensors. Only their tensors are read from disk.

    Raises:
        GraspPlannerError: the file is missing, truncated, not a dictionary, TorchScript, or older than PyTorch 1.6; or
            it names a class or function that no checkpoint needs, in which case nothing of it has been run.
    """
    if not path.is_file():
        raise GraspPlannerError(f"needed a checkpoint file, but there is none at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            return _parts(archive, path, names)
    except GraspPlannerError:
        raise
    except zipfile.BadZipFile as error:
        raise GraspPlannerError(
            f"{path} is truncated, or no file of torch.save since PyTorch 1.6 ({error}): copy it again"
        ) from error
    except Exception as error:  # a broken pickle can make the reader raise almost anything
        raise GraspPlannerError(f"{path} cannot be read ({type(error).__name__}: {error}): copy it again") from error


def _parts(archive: zipfile.ZipFile, path: Path, names: Sequence[str]) -> dict[str, Part]:
    check_archive(archive)
    members = archive.namelist()
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise GraspPlannerError(f"{path} is no file of torch.save: needed one data.pkl in it, found {len(pickles)}")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members:
        raise GraspPlannerError(f"{path} is a TorchScript program; needed a dictionary written by torch.save")
    if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
        raise GraspPlannerError(f"{path} was written on a big-endian machine, which is not supported")
    data = archive.read(pickles[0])
    check_pickle(data)
    content = _Reader(io.BytesIO(data), path).load()
    if not isinstance(content, dict):
        raise GraspPlannerError(f"{path} must hold a dictionary, got {_kind(content)}")
    return {name: _part(content[name], archive, folder, path, name) for name in names if content.get(name) is not None}


def _part(entry: Any, archive: zipfile.ZipFile, folder: str, path: Path, name: str) -> Part:
    if not isinstance(entry, (dict, StandIn)):
        raise GraspPlannerError(f"{name!r} in {path} must be a module or a dictionary of tensors, got {_kind(entry)}")
    found = entry.items() if isinstance(entry, dict) else _tensors_of(entry)
    tensors = {
        str(key).removeprefix("module."): _stored(value, archive, folder)
        for key, value in found
        if isinstance(value, _Entry)
    }
    return Part(_kind(entry), tensors)


class StandIn:
    """An object of a class that is not built: it takes what the pickle hands to it and does nothing."""

    kind = ""

    attributes: dict[str, Any]

    def __new__(cls, *_args: Any, **_named: Any) -> StandIn:
        """Ignore what the object was to be made from."""
        made = object.__new__(cls)
        made.attributes = {}
        return made

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.attributes = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Ignored, as is all that a container would keep."""

    def extend(self, items: Any) -> None:
        """Ignored."""

    def add(self, item: Any) -> None:
        """Ignored."""


@dataclass(frozen=True)
class _Storage:
    """Where the numbers of a tensor are."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class _Entry:
    """A tensor that has not been read yet."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """An unpickler that resolves names to nothing but the functions below and stand-ins."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for here.

        Raises:
            GraspPlannerError: it is no part of a checkpoint.
        """
        module = "builtins" if module == "__builtin__" else module  # its name in the protocol that torch.save uses
        full = f"{module}.{name}"
        # Bound methods and fresh classes: a pickle can write attributes to what it is given, and these are its own.
        known: dict[str, Any] = {
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": self._first,
            "torch._utils._rebuild_parameter_with_state": self._first,
            "torch.Size": tuple,
            "collections.OrderedDict": OrderedDict,
            "collections.defaultdict": self._empty,
            "_codecs.encode": self._first,
            "builtins.getattr": type("getattr", (StandIn,), {"kind": full}),
        }
        if full in known:
            return known[full]
        if module == "builtins" and name in _DATA:
            return _DATA[name]
        if module.partition(".")[0] in _STAND_INS:
            return type(name, (StandIn,), {"kind": full})
        raise GraspPlannerError(
            f"refused {self.path}: it names {full}, which no checkpoint needs. Nothing in the file was run. "
            "Do not open this file by other means unless you know where it comes from"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """A tensor's place in the archive; the numbers stay on disk."""
        what, kind, key, _, count = pid
        name = kind.__name__ if isinstance(kind, type) else ""
        if what != "storage" or name not in _DTYPES:
            raise pickle.UnpicklingError(f"unknown storage {name or what!r}")
        return _Storage(str(key), _DTYPES[name], int(count))

    def _tensor(self, storage: _Storage, offset: int, size: Any, stride: Any, *_rest: Any) -> _Entry:
        return _Entry(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))

    def _first(self, data: Any, *_rest: Any) -> Any:
        return data

    def _empty(self, *_rest: Any) -> dict[Any, Any]:
        return {}


def _stored(entry: _Entry, archive: zipfile.ZipFile, folder: str) -> Tensor:
    """Read one tensor; it gets memory of its own."""
    storage = entry.storage
    last = entry.offset + sum((size - 1) * stride for size, stride in zip(entry.size, entry.stride, strict=True))
    if min((entry.offset, *entry.size, *entry.stride)) < 0 or (0 not in entry.size and last >= storage.count):
        raise pickle.UnpicklingError(f"tensor {entry.size} reaches beyond its storage of {storage.count}")
    if math.prod(entry.size) > max(storage.count, MOST_REPEATED):
        raise pickle.UnpicklingError(f"tensor {entry.size} repeats its storage of {storage.count} beyond all reason")
    if 0 in entry.size:
        return torch.zeros(entry.size, dtype=storage.dtype)
    data = bytearray(archive.read(f"{folder}data/{storage.key}"))
    return torch.frombuffer(data, dtype=storage.dtype).as_strided(entry.size, entry.stride, entry.offset).clone()


def _tensors_of(module: StandIn, prefix: str = "") -> Iterator[tuple[str, _Entry]]:
    """The ``state_dict`` of a pickled module, from the attributes that ``torch.nn.Module`` keeps it in."""
    for group in ("_parameters", "_buffers"):
        own = module.attributes.get(group)
        skipped = module.attributes.get("_non_persistent_buffers_set")
        for name, value in (own if isinstance(own, Mapping) else {}).items():
            if isinstance(value, _Entry) and not (isinstance(skipped, set) and name in skipped):
                yield f"{prefix}{name}", value
    children = module.attributes.get("_modules")
    for name, child in (children if isinstance(children, Mapping) else {}).items():
        if isinstance(child, StandIn):
            yield from _tensors_of(child, f"{prefix}{name}.")


def _kind(thing: Any) -> str:
    if isinstance(thing, StandIn):
        return type(thing).kind
    return "dict" if isinstance(thing, dict) else type(thing).__name__
