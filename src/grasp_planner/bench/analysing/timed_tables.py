"""Tables of seconds: how soon planning succeeds, and how much succeeds within a limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from grasp_planner.bench.analysing.cells import arms_of
from grasp_planner.bench.analysing.rows import EMPTY, Table, columns_of, published_row, row_of, share_text
from grasp_planner.bench.analysing.winners import BOLD, seconds_ranking, won_cells
from grasp_planner.bench.machine_load import load_warning
from grasp_planner.bench.records import Record, of_kind
from grasp_planner.bench.suites.published_results import PublishedTable
from grasp_planner.bench.timed_records import TimedRecord


def seconds_table(records: Sequence[Record], theirs: PublishedTable | None = None) -> Table:
    """Return the median seconds to the first plan that succeeds in the simulator, over all problems."""
    timed = of_kind(records, TimedRecord)
    rows = []
    for arm in arms_of(timed):
        rows += _rows_of_limits(arm, timed, _median_seconds)
        if theirs is not None:
            rows += published_row(arm, timed, theirs, lambda cell: "-" if cell.seconds is None else f"{cell.seconds} s")
    note = (
        "Median seconds of planning until the best plan so far succeeds in the simulator, and the number of problems "
        "with such a plan. The median is over all problems, and a problem without such a plan counts as the limit of "
        f"the seconds. {_how_timed(timed)} Plans are kept with their times during planning and executed afterwards. "
        f"{BOLD}"
    )
    bold = won_cells(rows, timed, seconds_ranking)
    return Table("seconds", "Seconds to the first plan that succeeds", columns_of(timed), tuple(rows), note, bold)


def timed_success_table(records: Sequence[Record]) -> Table:
    """Return success in the simulator of the plans that are found within a limit in seconds, with 95 % intervals."""
    timed = [record for record in of_kind(records, TimedRecord) if record.seconds_limit]
    rows = []
    for arm in arms_of(timed):
        rows += _rows_of_limits(arm, timed, lambda found: share_text([record.won for record in found]))
    note = (
        "Percent of the timed problems at the goal in the simulator with the plan that the planner returns at the end "
        f"of its seconds, with Wilson's 95 % interval. {_how_timed(timed)}"
    )
    return Table("timed_success", "Success within a limit in seconds", columns_of(timed), tuple(rows), note)


def _rows_of_limits(
    arm: str, timed: Sequence[TimedRecord], text: Callable[[list[TimedRecord]], str]
) -> list[tuple[str, ...]]:
    """Return a row of an arm for each limit in seconds. The limit is part of the row's name if there are several."""
    limits = sorted({record.seconds_limit for record in timed})

    def limited(limit: float) -> Callable[[list[TimedRecord]], str]:
        def of_limit(found: list[TimedRecord]) -> str:
            here = [record for record in found if record.seconds_limit == limit]
            return text(here) if here else EMPTY

        return of_limit

    return [row_of(f"{arm}, {one:g} s" if len(limits) > 1 else arm, timed, limited(one), arm) for one in limits]


def _median_seconds(records: Sequence[TimedRecord]) -> str:
    first = [record.clock.seconds_to_success for record in records]
    limit = records[0].seconds_limit or math.inf
    middle = median(limit if seconds is None else seconds for seconds in first)
    solved = f"({len(first) - first.count(None)} of {len(first)})"
    if middle < limit:
        return f"{middle:.2g} s {solved}"
    return f"- {solved}" if math.isinf(limit) else f"> {limit:g} s {solved}"


def _how_timed(timed: Sequence[TimedRecord]) -> str:
    """Say how many problems were planned at a time, with which limits, and whether the machine was idle."""
    together = max((record.clock.batch for record in timed), default=1)
    each = "One problem is planned at a time" if together == 1 else f"Up to {together} problems are planned at a time"
    said = [f"{each}, on one core, after a warm-up."]
    if limits := sorted({record.seconds_limit for record in timed if record.seconds_limit}):
        said.append(f"Planning ends after {' or '.join(f'{limit:g}' for limit in limits)} s.")
    if warning := load_warning(max((record.clock.others or 0.0 for record in timed), default=0.0)):
        said.append(f"During some of these measurements {warning}.")
    return " ".join(said)
