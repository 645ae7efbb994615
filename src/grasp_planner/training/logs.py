"""Logs of a training: CSV files, and optionally TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import missing_extra
from grasp_planner.io.atomic import write_atomically


class CSVLog:
    """A CSV file whose rows have a ``step``. Each row is written to disk immediately.

    A resumed training continues after its last checkpoint. Rows of later steps are therefore dropped first. The final
    file equals the file of an uninterrupted training.

    Args:
        path: the file.
        step: rows after this step are dropped; 0 drops all rows.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept: list[dict[str, str]] = []
        if step > 0 and path.is_file():
            content = path.read_text(encoding="utf-8")
            whole = content[: content.rfind("\n") + 1]  # a kill or a full disk can leave part of a last row
            kept = [row for row in csv.DictReader(whole.splitlines()) if int(row["step"]) <= step]
        self.rows = len(kept)
        write_atomically(path, lambda temporary: _write(temporary, kept))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; the first row defines the columns."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if self.rows == 0:
                writer.writeheader()
            writer.writerow(row)
        self.rows += 1


class TensorBoard:
    """A log of the same numbers for TensorBoard.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("tensorboard", "train", "the TensorBoard log") from error
        self._writer = SummaryWriter(folder)

    def write(self, row: Mapping[str, Any]) -> None:
        """Write every number of a row as a scalar."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush and close the files."""
        self._writer.close()


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
