"""Rows and columns of tables and charts: the arms (planners) and the cells (task, horizon, model) of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from grasp_planner.bench.work import CellName, Work


class OfWork(Protocol):
    """A record of any kind."""

    @property
    def work(self) -> Work:
        """The planner and the task of the record."""
        ...


def arms_of(records: Iterable[OfWork]) -> list[str]:
    """Return the names of the arms in alphabetical order."""
    return sorted({record.work.arm for record in records})


def cells_of(records: Iterable[OfWork]) -> list[CellName]:
    """Return the cells in order."""
    return sorted({record.work.cell for record in records})


def environment_of(task: str) -> str:
    """Return the first part of a task's name.

    >>> environment_of("push_t/dset/v1")
    'push_t'
    """
    return task.partition("/")[0]


def label_of(cell: CellName, among: Sequence[CellName]) -> str:
    """Return a label of a cell: its horizon, and its environment and its model if they differ among the cells.

    >>> label_of(("push_t/dset/v1", 40, "m"), [("push_t/dset/v1", 40, "m"), ("wall/dset/v1", 40, "m")])
    'push_t H = 40'
    """
    task, horizon, model = cell
    label = f"H = {horizon}"
    if len({one[0] for one in among}) > 1:
        label = f"{environment_of(task)} {label}"
    return f"{label}, {model}" if len({one[2] for one in among if one[0] == task}) > 1 else label
