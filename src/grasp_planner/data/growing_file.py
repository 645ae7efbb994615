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
from grasp_planner.io.atomic import lock_file
from grasp_planner.io.broken_files import reading


def grown(path: Path, shape: tuple[int, ...], dtype: Any, parts: Callable[[int], Iterable[np.ndarray]]) -> np.ndarray:
    """Return an array from its file, memory-mapped and read-only; compute it first if there is no such file.

    The unfinished file has the suffix ``.partial``. Another call continues after the last complete row. The file gets
    its name when it is complete.

    Args:
        path: the file, whose name ends on ``.npy``.
        shape: shape of the array.
        dtype: dtype of the array.
        parts: function of a row that yields the array from this row on, in pieces along the first axis.

    Raises:
        GraspPlannerError: the pieces have another number of rows, another process is writing the file, the disk is
            full, or the file is broken.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     array = grown(Path(folder) / "squares.npy", (4,), np.int64, lambda row: [np.arange(row, 4) ** 2])
    ...     array.tolist()
    [0, 1, 4, 9]
    """
    if not path.exists():
        try:
            _write(path, shape, np.dtype(dtype), parts)
        except BlockingIOError as error:
            raise GraspPlannerError(f"{path}: another process is writing this file; wait until it ends") from error
        except OSError as error:
            raise GraspPlannerError(
                f"{path} could not be written ({error.strerror or error}): free some space; the same call continues"
            ) from error
    with reading(path, "numpy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ValueError(f"holds {array.dtype} {array.shape}, needed {dtype} {shape}")
    return array.view(np.ndarray)


def _write(path: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Callable[[int], Iterable[np.ndarray]]) -> None:
    unfinished = path.with_suffix(".partial")
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        start, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    header, row = start.getvalue(), math.prod(shape[1:]) * dtype.itemsize
    with unfinished.open("a+b") as file:
        lock_file(file.fileno())
        done = (file.seek(0, os.SEEK_END) - len(header)) // row
        if done < 0:
            file.truncate(0)
            file.write(header)
            done = 0
        file.truncate(len(header) + done * row)
        for part in parts(done):
            file.write(np.ascontiguousarray(part, dtype).data)
            file.flush()
            done += len(part)
        if done != shape[0]:
            raise GraspPlannerError(f"{path}: computed {done} rows, needed {shape[0]}")
        os.fsync(file.fileno())
        unfinished.replace(path)
