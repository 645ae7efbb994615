"""Write HDF5 files such that a full disk raises an ``OSError``.

The HDF5 library does not survive a failed write: it keeps the unwritten content, and the process crashes when the file
is closed. The library therefore writes to a file object whose writes do not fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from grasp_planner.core.errors import missing_extra


def hdf5() -> Any:
    """Import h5py.

    Raises:
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("h5py", "data", "writing data sets") from error
    return h5py


class LastingFile:
    """A file that keeps content in memory if it no longer fits on the disk, and reads such content from memory.

    Attributes:
        error: the error of the first failed write; ``None`` if all content is on the disk.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.error: OSError | None = None
        self._file = file  # not buffered
        self._place, self._size = 0, 0
        self._kept: list[tuple[int, bytes]] = []  # in the order of writing

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the current position in the file."""
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        """Return the current position."""
        return self._place

    def write(self, content: Any) -> int:
        """Write at the current position. The method raises no error; ``error`` stores a failure."""
        data = memoryview(content).cast("B")
        if self.error is None:
            try:
                self._file.seek(self._place)
                left = data
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._kept.append((self._place, bytes(data)))
        self._place += len(data)
        self._size = max(self._size, self._place)
        return len(data)

    def read(self, size: int) -> bytes:
        """Read from the current position."""
        content = bytearray(size)
        self.readinto(content)
        return bytes(content)

    def readinto(self, buffer: Any) -> int:
        """Read from the current position, and fill the rest of the buffer with zeros."""
        target = memoryview(buffer).cast("B")
        self._file.seek(self._place)
        count = 0
        while count < len(target) and (some := self._file.readinto(target[count:])):  # type: ignore[attr-defined]
            count += some
        target[count:] = bytes(len(target) - count)
        for place, data in self._kept:
            first, last = max(place, self._place), min(place + len(data), self._place + len(target))
            if first < last:
                target[first - self._place : last - self._place] = data[first - place : last - place]
        self._place += len(target)
        return len(target)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        self._size = self._place if size is None else size
        if self.error is None:
            try:
                self._file.truncate(self._size)
            except OSError as error:
                self.error = error
        return self._size

    def flush(self) -> None:
        """Do nothing, since the file has no buffer."""


class WrittenFile:
    """An HDF5 file that is being written."""

    def __init__(self, file: Any, target: LastingFile) -> None:
        self.content = file
        self._target = target

    def check(self) -> None:
        """Raise an error if a write has failed.

        Raises:
            OSError: the disk is full, or the file may not become larger.
        """
        if self._target.error is not None:
            raise self._target.error


@contextmanager
def written_hdf5(path: Path) -> Iterator[WrittenFile]:
    """Create an HDF5 file that has the layout of HDF5 1.10, whose groups are compact.

    Raises:
        OSError: the file could not be written; the error is raised when the block ends.
        MissingExtraError: h5py is not installed.
    """
    h5py = hdf5()
    with path.open("w+b", buffering=0) as raw:
        target = LastingFile(raw)
        with h5py.File(target, "w", libver=("v110", "v110")) as file:
            written = WrittenFile(file, target)
            yield written
        written.check()
