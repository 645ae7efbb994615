"""The archive that ``torch.save`` writes: a pickle that describes tensors, and a member for each storage of numbers.

Everything that the file claims is compared with its size before a tensor is built.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grasp_planner.io.limited import Budget, check_regular
from grasp_planner.io.pickle_limits import MOST_BYTES
from grasp_planner.io.pickles import unpickle

DTYPES = {
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
MOST_REPEATED = 2**26
"""Largest number of bytes by which all tensors of a file together may exceed the size of the file."""
MOST_DIRECTORY = 2**21
"""Largest size of an archive's list of members, in bytes; an entry has about 100."""
MOST_DIMENSIONS, LARGEST_SIZE = 16, 2**48
PIECE = 2**24  # bytes that are read at once


@dataclass(frozen=True, eq=False)
class Storage:
    """The place of the numbers of a tensor in the archive."""

    key: str
    dtype: torch.dtype
    count: int

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it writes to a storage")


@dataclass(frozen=True, eq=False)
class Entry:
    """A tensor that has not been read yet."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it writes to a tensor")

    @property
    def bytes(self) -> int:
        """Size of the tensor if its numbers lie one after the other."""
        return math.prod(self.size) * self.storage.dtype.itemsize


def entry_of(storage: Any, offset: Any = 0, size: Any = (), stride: Any = (), *_rest: Any) -> Entry:
    """Make the entry that ``torch._utils._rebuild_tensor_v2`` is called for.

    Raises:
        pickle.UnpicklingError: an argument has another type or is out of range.
    """
    places = (size, stride)
    if not isinstance(storage, Storage) or any(type(one) is not tuple or len(one) > MOST_DIMENSIONS for one in places):
        raise pickle.UnpicklingError(f"a tensor needs a storage, and at most {MOST_DIMENSIONS} sizes and strides")
    if len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor has as many strides as sizes")
    for number in (offset, *size, *stride):
        if type(number) is not int or not 0 <= number <= LARGEST_SIZE:
            raise pickle.UnpicklingError(f"an offset, size or stride must be an integer from 0 to {LARGEST_SIZE:,}")
    return Entry(storage, offset, size, stride)


class Archive:
    """An open file of ``torch.save``.

    Attributes:
        size: bytes of the file.
        members: names in the archive.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive, self.size, self.members = archive, size, archive.namelist()
        self.folder = ""

    def content(self, resolve: Callable[[str, str], Any]) -> Any:
        """Unpickle the archive's ``data.pkl``, with an ``Entry`` in place of every tensor.

        Raises:
            ValueError: the archive is none of ``torch.save``.
        """
        pickles = [name for name in self.members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"it is no file of torch.save: needed one data.pkl in it, found {len(pickles)}")
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.members:
            raise ValueError("it is a TorchScript program; needed a dictionary written by torch.save")
        byteorder = f"{self.folder}byteorder"
        if byteorder in self.members and self._read(byteorder, 16) != b"little":
            raise ValueError("it was written on a big-endian machine, which is not supported")
        return unpickle(bytes(self._read(pickles[0], MOST_BYTES)), resolve, self._storage)

    def tensors(self, entries: Collection[Entry]) -> dict[Entry, Tensor]:
        """Read the tensors of all entries; tensors that share a storage share their memory.

        Everything that the entries claim is checked before the first number is read.

        Raises:
            ValueError: a tensor reaches beyond its storage or a storage beyond its member, or the tensors together
                are much larger than the file.
        """
        claimed = Budget(self.size + MOST_REPEATED, "bytes of tensors: it repeats its storages beyond all reason")
        distinct: dict[tuple[Any, ...], Entry] = {}
        for entry in entries:
            distinct.setdefault(self._place(entry), entry)
        for entry in distinct.values():
            self._check(entry)
            claimed.take(entry.bytes)
        numbers: dict[tuple[Any, ...], Tensor] = {}
        tensors: dict[tuple[Any, ...], Tensor] = {}
        for place, entry in distinct.items():
            storage = entry.storage
            if 0 in entry.size:
                tensors[place] = torch.zeros(entry.size, dtype=storage.dtype)
                continue
            source = (storage.key, storage.dtype, storage.count)
            if source not in numbers:
                data = self._read(self._member(storage), self.size)
                numbers[source] = torch.frombuffer(data, dtype=storage.dtype, count=storage.count)
            tensors[place] = numbers[source].as_strided(entry.size, entry.stride, entry.offset)
        return {entry: tensors[self._place(entry)] for entry in entries}

    def _place(self, entry: Entry) -> tuple[Any, ...]:
        storage = entry.storage
        return (storage.key, storage.dtype, storage.count, entry.offset, entry.size, entry.stride)

    def _check(self, entry: Entry) -> None:
        storage = entry.storage
        last = entry.offset + sum((size - 1) * stride for size, stride in zip(entry.size, entry.stride, strict=True))
        if 0 in entry.size:
            return
        if last >= storage.count:
            raise ValueError(f"tensor {entry.size} reaches beyond its storage of {storage.count}")
        held = self._archive.getinfo(self._member(storage)).file_size
        if storage.count * storage.dtype.itemsize > held:
            raise ValueError(f"a storage of {storage.count} {storage.dtype} is claimed, and {held} bytes are there")

    def _member(self, storage: Storage) -> str:
        return f"{self.folder}data/{storage.key}"

    def _storage(self, pid: Any) -> Storage:
        """The place of a tensor's numbers; the numbers stay on disk."""
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to an object outside of the pickle that is no storage")
        _, kind, key, _, count = pid
        name = kind.__name__ if isinstance(kind, type) else ""
        if name not in DTYPES or type(key) is not str or type(count) is not int or not 0 <= count <= LARGEST_SIZE:
            raise pickle.UnpicklingError(f"unknown storage {name!r}, or one without a name and a count")
        return Storage(key, DTYPES[name], count)

    def _read(self, member: str, most: int) -> bytearray:
        """Read a member into memory of its own."""
        size = self._archive.getinfo(member).file_size
        if size > most:
            raise ValueError(f"{member} has {size:,} bytes, needed at most {most:,}")
        data, place = bytearray(size), 0
        with self._archive.open(member) as file:
            while place < size and (piece := file.read(min(PIECE, size - place))):
                data[place : place + len(piece)] = piece
                place += len(piece)
        if place < size:
            raise ValueError(f"{member} is truncated")
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a file of ``torch.save`` and check the list of its members.

    Raises:
        zipfile.BadZipFile: the file is no archive.
        ValueError: the path is not a regular file, the list of members is too long, or ``check_archive`` refuses it.
    """
    size = check_regular(path).stat().st_size
    with _Bounded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        file.most = size
        check_archive(archive, size)
        yield Archive(archive, size)


class _Bounded(io.BufferedReader):
    """A file whose list of members is refused before it is read, if it is too long."""

    most = MOST_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise ValueError(f"its list of members has {size:,} bytes, needed at most {self.most:,}")
        return super().read(size)


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive with compressed members, which can claim any size, or with members outside of the archive.

    Args:
        archive: the archive.
        size: bytes of its file, which the members share.

    Raises:
        ValueError: ``torch.save`` does not write such an archive.
    """
    claimed = Budget(size, "bytes: its members overlap")
    for member in archive.infolist():
        claimed.take(member.file_size)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > member.compress_size:
            raise ValueError(f"{member.filename} is compressed, which no file of torch.save is")
        if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename.replace("\\", "/")).parts:
            raise ValueError(f"{member.filename} leads out of the file")
