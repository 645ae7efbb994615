"""Arrays that take long to compute: a ``.npy`` file that is written piece by piece, and continued after a stop."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.atomic import lock_file, write_atomically
from grasp_planner.io.broken_files import reading

Parts = Callable[[int], Iterable[np.ndarray]]


def grown(path: Path, shape: tuple[int, ...], dtype: Any, parts: Parts) -> np.ndarray:
    """Return an array from its file, memory-mapped and read-only; compute it first if there is no such file.

    The unfinished file has the suffix ``.partial``. Another call continues after the last complete row. The file gets
    its name when it is complete. If another process is computing the same array, the call waits for this process.

    On a file system without locks, no call waits or continues: each call computes the whole array.

    Args:
        path: the file, whose name ends on ``.npy``.
        shape: shape of the array.
        dtype: dtype of the array.
        parts: function of a row that yields the array from this row on, in pieces along the first axis.

    Raises:
        GraspPlannerError: the pieces have another number of rows, the disk is full, or the file is broken.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     array = grown(Path(folder) / "squares.npy", (4,), np.int64, lambda row: [np.arange(row, 4) ** 2])
    ...     array.tolist()
    [0, 1, 4, 9]
    """
    if not path.exists():
        try:
            _write(path, shape, np.dtype(dtype), parts)
        except OSError as error:
            raise GraspPlannerError(
                f"{path} could not be written ({error.strerror or error}): free some space; the same call continues"
            ) from error
    with reading(path, "numpy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ValueError(f"holds {array.dtype} {array.shape}, needed {np.dtype(dtype)} {shape}")
    return array.view(np.ndarray)


def _write(path: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Parts) -> None:
    unfinished = path.with_suffix(".partial")
    with unfinished.open("ab") as held:
        try:
            lock_file(held.fileno(), wait=True)
        except OSError:  # no locks: another process may be writing the unfinished file
            write_atomically(path, lambda temporary: _append(temporary, shape, dtype, parts))
        if not path.exists():
            _append(unfinished, shape, dtype, parts)
            unfinished.replace(path)
            return
    unfinished.unlink(missing_ok=True)  # created by this call, while another process finished the file


def _append(unfinished: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Parts) -> None:
    """Write the rows that an unfinished file lacks."""
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        start, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    header, row = start.getvalue(), math.prod(shape[1:]) * dtype.itemsize
    with unfinished.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        done = (size - len(header)) // row if file.read(len(header)) == header else 0
        if done == 0:  # also if the header is missing, or belongs to another array
            file.truncate(0)
            file.write(header)
        file.truncate(len(header) + done * row)
        for part in parts(done):
            file.write(np.ascontiguousarray(part, dtype).data)
            file.flush()
            done += len(part)
        os.fsync(file.fileno())
    if done != shape[0]:
        raise GraspPlannerError(f"{unfinished}: computed {done} rows, needed {shape[0]}")
