"""Logs of a training: CSV files, and optionally TensorBoard and Weights & Biases."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import missing_extra
from grasp_planner.io.atomic import write_atomically, write_bytes_atomically

RUN_FILE = "wandb_run.txt"
"""The identifier of the run at Weights & Biases, so that a resumed training continues the same run."""


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


class WandB:
    """A log of the same numbers as a run at Weights & Biases.

    The settings of wandb apply, such as ``WANDB_PROJECT`` (default: grasp-planner) and ``WANDB_MODE=offline``. The
    files are written to ``folder/wandb``.

    Args:
        folder: the folder of the training, whose name is the name of the run.
        config: the settings of the training.
        step: the step at which the training begins; above 0, the run of the earlier part is continued.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing_extra("wandb", "wandb", "the log at Weights & Biases") from error
        path = folder / RUN_FILE
        if step == 0 or not path.is_file():
            write_bytes_atomically(path, uuid.uuid4().hex.encode())
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "grasp-planner"),
            name=folder.resolve().name,
            id=path.read_text(encoding="utf-8"),
            resume="allow",
            dir=folder,
            config=dict(config),
        )

    def write(self, row: Mapping[str, Any]) -> None:
        """Log every number of a row."""
        self._run.log({name: value for name, value in row.items() if name != "step"}, step=row["step"])

    def close(self) -> None:
        """Flush and end the run."""
        self._run.finish()


@contextmanager
def boards(
    folder: Path, config: Mapping[str, Any], step: int, tensorboard: bool, wandb: bool
) -> Iterator[list[TensorBoard | WandB]]:
    """Open the logs that are asked for besides CSV files, and close them at the end of the block.

    Raises:
        MissingExtraError: a package is not installed.
    """
    with ExitStack() as opened:
        yield [
            *([opened.enter_context(closing(TensorBoard(folder / "tensorboard")))] if tensorboard else []),
            *([opened.enter_context(closing(WandB(folder, config, step)))] if wandb else []),
        ]


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
