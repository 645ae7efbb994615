"""Read files of ``torch.save`` from untrusted sources: only tensors are read, and no code of a file is run.

``load_tensors`` reads files of tensors and plain values. ``read_parts`` reads files that hold pickled modules, such as
the checkpoints of DINO-WM. Classes and functions that the file names are replaced by inert stand-ins, which only store
attributes.
"""

from __future__ import annotations

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
from grasp_planner.io.broken_files import reading
from grasp_planner.io.pickles import unpickle

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
MOST_REPEATED = 2**24
"""Largest number of entries of an expanded tensor, that is a tensor with more entries than its storage."""
_DATA = {"list": list, "dict": dict, "set": set, "tuple": tuple, "int": int, "float": float, "bool": bool, "str": str}


def load_tensors(path: Path) -> Any:
    """Read the tensors and plain values in a file of ``torch.save``, to the CPU.

    Raises:
        GraspPlannerError: the file is missing, is broken, is compressed, or holds objects of other types.
    """
    with reading(path, "tensor (torch.save)"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_archive(archive)
        return torch.load(path, map_location="cpu", weights_only=True)


def check_archive(archive: zipfile.ZipFile) -> None:
    """Raise on an archive with compressed members, which can claim any size, or with members outside of the archive.

    Raises:
        ValueError: ``torch.save`` does not write such an archive.
    """
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > member.compress_size:
            raise ValueError(f"{member.filename} is compressed, which no file of torch.save is")
        if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename.replace("\\", "/")).parts:
            raise ValueError(f"{member.filename} leads out of the file")


@dataclass(frozen=True)
class Part:
    """One entry of a checkpoint.

    Attributes:
        kind: the class of the entry, such as ``"models.vit.ViTPredictor"``; ``"dict"`` for plain tensors.
        tensors: its ``state_dict``, on the CPU, without the prefix ``"module."``.
    """

    kind: str
    tensors: dict[str, Tensor]


def read_parts(path: Path, names: Sequence[str]) -> dict[str, Part]:
    """Read the named entries of a dictionary that ``torch.save`` wrote. Missing entries are left out.

    Entries are pickled modules or dictionaries of tensors. Only the tensors of these entries are read from disk.

    Raises:
        GraspPlannerError: the file is missing, truncated, not a dictionary, TorchScript, or older than PyTorch 1.6; or
            it names a class or function that no checkpoint needs. No code of the file is run.
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
    except Exception as error:  # a broken pickle can make the reader raise almost any exception
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
    content = unpickle(archive.read(pickles[0]), _Names(path).resolve, _storage)
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
    """An inert object that replaces an object of a refused class. It stores attributes and does nothing else."""

    kind = ""

    attributes: dict[str, Any]

    def __new__(cls, *_args: Any, **_named: Any) -> StandIn:
        """Make a stand-in. The arguments of the original constructor are ignored."""
        made = object.__new__(cls)
        made.attributes = {}
        return made

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.attributes = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Ignore an item. Pickles of containers call this method."""

    def extend(self, items: Any) -> None:
        """Ignore items."""

    def add(self, item: Any) -> None:
        """Ignore an item."""


@dataclass(frozen=True)
class _Storage:
    """The location of a tensor's numbers in the archive."""

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


class _Names:
    """The objects for the names in a checkpoint: methods of this class, plain containers, and stand-ins."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resolve(self, module: str, name: str) -> Any:
        """Return the object for a name in the file.

        Raises:
            GraspPlannerError: no checkpoint needs this name.
        """
        full = f"{module}.{name}"
        # A pickle can write attributes to these objects, so bound methods and new classes are returned, which nothing
        # else uses.
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

    def _tensor(self, storage: _Storage, offset: int, size: Any, stride: Any, *_rest: Any) -> _Entry:
        return _Entry(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))

    def _first(self, data: Any, *_rest: Any) -> Any:
        return data

    def _empty(self, *_rest: Any) -> dict[Any, Any]:
        return {}


def _storage(pid: Any) -> _Storage:
    """Return the location of a tensor's numbers, which stay on disk."""
    what, kind, key, _, count = pid
    name = kind.__name__ if isinstance(kind, type) else ""
    if what != "storage" or name not in _DTYPES:
        raise pickle.UnpicklingError(f"unknown storage {name or what!r}")
    return _Storage(str(key), _DTYPES[name], int(count))


def _stored(entry: _Entry, archive: zipfile.ZipFile, folder: str) -> Tensor:
    """Read one tensor into new memory."""
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
    """Yield the ``state_dict`` of a pickled module, from the attributes in which ``torch.nn.Module`` keeps it."""
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
