"""Budgets for reading one file: bytes and work are counted before they are spent."""

from __future__ import annotations

import stat
from pathlib import Path


class Budget:
    """What the reading of one file may spend in total.

    Args:
        limit: the most that may be taken.
        unit: what is counted, in words, for the error.

    >>> budget = Budget(10, "bytes")
    >>> budget.take(7)
    >>> budget.take(7)
    Traceback (most recent call last):
    ValueError: it asks for more than 10 bytes
    """

    def __init__(self, limit: int, unit: str) -> None:
        self.limit, self.unit, self.taken = limit, unit, 0

    def take(self, amount: int) -> None:
        """Count an amount that is about to be spent.

        Raises:
            ValueError: the file asks for more than the limit.
        """
        self.taken += amount
        if self.taken > self.limit:
            raise ValueError(f"it asks for more than {self.limit:,} {self.unit}")


def check_regular(path: Path) -> Path:
    """Refuse a path that is a device, a pipe or a folder; a link is followed first.

    Raises:
        ValueError: the path is not a regular file.
        FileNotFoundError: there is nothing at this path.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file, but a device, a pipe or a folder")
    return path


def read_limited(path: Path, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Raises:
        ValueError: the path is not a regular file, or the file is larger.
        OSError: the file cannot be read.
    """
    with check_regular(path).open("rb") as file:  # checked first, since opening a pipe waits for a writer
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes, which no file of this kind needs")
    return data
