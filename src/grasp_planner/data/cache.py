"""Unpacked arrays of a data set, kept in its folder ``.arrays`` as memory-mapped ``.npy`` files.

The folder can be deleted at any time: its content is computed from the data set. Each entry stores the size and
modification time of the files that it was made from; if they have changed, the entry is built again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.atomic import locked, write_folder_atomically
from grasp_planner.io.broken_files import broken, reading
from grasp_planner.io.limited import check_regular
from grasp_planner.io.text_files import read_json, write_json

FOLDER = ".arrays"
SCHEMA = 1
INDEX = "index.json"
LONGEST_NAME = 100

Fingerprint = dict[str, list[int]]


@dataclass(frozen=True)
class Writer:
    """A writer of ``.npy`` files piece by piece, for arrays that do not fit into memory.

    Attributes:
        folder: folder of the files.
        entries: key -> file, shape and dtype of each array that was written.
    """

    folder: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, key: str, shape: tuple[int, ...], dtype: Any, parts: Iterable[np.ndarray]) -> None:
        """Write one array.

        Args:
            key: name of the array.
            shape: shape of the whole array.
            dtype: dtype of the whole array.
            parts: the array in pieces along the first axis.

        Raises:
            GraspPlannerError: the number of rows of the pieces differs from ``shape``.
            OSError: the file cannot be written.
        """
        dtype, name = np.dtype(dtype), f"{len(self.entries)}.npy"
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        rows = 0
        # This writes instead of using a memory map: on a full disk, a memory map crashes the process, but a write
        # raises an error.
        with (self.folder / name).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                rows += len(part)
                file.write(np.ascontiguousarray(part, dtype).data)
        if rows != shape[0]:
            raise GraspPlannerError(f"{key!r} has {rows} rows, needed {shape[0]}")
        self.entries[key] = {"file": name, "shape": list(shape), "dtype": str(dtype)}


def fingerprint(files: Iterable[Path], root: Path) -> Fingerprint:
    """Compute the fingerprint of a data set: file name -> [bytes, modification time in ns]."""
    found = {}
    for file in sorted(files):
        status = file.stat()
        found[file.relative_to(root).as_posix()] = [status.st_size, status.st_mtime_ns]
    return found


def stored(folder: Path, source: Fingerprint) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read the arrays (memory-mapped, read-only) and the notes of an entry; None if there is no entry for the source.

    Raises:
        GraspPlannerError: the entry for this source is broken.
    """
    if not (folder / INDEX).exists():
        return None
    index = read_json(folder / INDEX)
    if index.get("schema") != SCHEMA or index.get("source") != source:
        return None
    with reading(folder / INDEX, "index of arrays"):
        entries = {key: (str(one["file"]), one["shape"], one["dtype"]) for key, one in index["arrays"].items()}
        notes = dict(index["notes"])
    arrays = {}
    for key, (name, shape, dtype) in entries.items():
        if Path(name).name != name or len(name) > LONGEST_NAME:
            raise broken(folder / INDEX, f"{name[:LONGEST_NAME]!r} leads out of the folder")
        with reading(folder / name, "numpy array"):
            array = np.load(check_regular(folder / name), mmap_mode="r", allow_pickle=False)
        if list(array.shape) != shape or str(array.dtype) != dtype:
            raise broken(folder / name, f"holds {array.dtype} {array.shape}, needed {dtype} {shape}")
        arrays[key] = array.view(np.ndarray)
    return arrays, notes


def store(folder: Path, source: Fingerprint, build: Callable[[Writer], Mapping[str, Any]]) -> None:
    """Build an entry atomically, unless another process is building it: then wait for this process.

    Args:
        folder: the entry's folder.
        source: fingerprint of the data set.
        build: function that writes all arrays to the given `Writer`, and returns the notes (JSON).

    Raises:
        GraspPlannerError: the disk is full or the folder cannot be written to.
    """

    def write(temporary: Path) -> None:
        writer = Writer(temporary)
        notes = build(writer)
        write_json(temporary / INDEX, {"schema": SCHEMA, "source": source, "arrays": writer.entries, "notes": notes})

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent, wait=True):
            if stored(folder, source) is None:  # otherwise, another process has built it meanwhile
                write_folder_atomically(folder, write)
    except OSError as error:
        raise GraspPlannerError(
            f"{folder}: the unpacked arrays could not be written ({error.strerror or error}): free some "
            "space, give another folder with cache=..., or read without one: cache=False"
        ) from error


def writable(folder: Path) -> bool:
    """Return whether files can be written to `folder`, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
