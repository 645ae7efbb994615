"""Tables of text, and the rows and columns that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grasp_planner.bench.analysing.cells import OfWork, cells_of, label_of
from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.suites.published_results import Published, PublishedTable

EMPTY = ""

AnyRecord = TypeVar("AnyRecord", bound=OfWork)


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Args:
        name: name in files and links.
        title: heading.
        columns: headings of the columns; the first column holds the names of the rows.
        rows: texts, one per column. All columns but the first are aligned to the right.
        note: how to read the table.
        bold: row and column, from 0, of the texts that are printed in bold: those of the winners.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    bold: tuple[tuple[int, int], ...] = ()


def columns_of(records: Sequence[OfWork]) -> tuple[str, ...]:
    """Return the headings of the columns: the planner, and the label of each cell."""
    cells = cells_of(records)
    return ("planner", *(label_of(one, cells) for one in cells))


def row_of(
    name: str, records: Sequence[AnyRecord], text: Callable[[list[AnyRecord]], str], arm: str | None = None
) -> tuple[str, ...]:
    """Return a row: its name, and for each cell the text of the records of an arm, by default the arm ``name``."""
    wanted = name if arm is None else arm
    found = [[r for r in records if r.work.arm == wanted and r.work.cell == cell] for cell in cells_of(records)]
    return (name, *(text(one) if one else EMPTY for one in found))


def published_row(
    arm: str, records: Sequence[OfWork], theirs: PublishedTable, text: Callable[[Published], str]
) -> list[tuple[str, ...]]:
    """Return the row of an arm in a published table, if the table has one."""
    cells = [theirs.cells.get((arm, horizon)) for _, horizon, _ in cells_of(records)]
    if not any(cells):
        return []
    return [(f"{arm}, published", *(EMPTY if cell is None else text(cell) for cell in cells))]


def share_text(won: Sequence[bool | None]) -> str:
    """Return the share of successes in percent, with its interval."""
    return str(Share(sum(map(bool, won)), len(won)))


def number_text(value: float) -> str:
    """Return a number with three digits, or as a whole number from 1000 on.

    >>> number_text(0.12345), number_text(999.7), number_text(1234567.8)
    ('0.123', '1,000', '1,234,568')
    """
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"
