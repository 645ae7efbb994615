"""Which planners won: the best planner of a suite, and all planners that a paired test cannot tell from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from grasp_planner.bench.analysing.cells import cells_of
from grasp_planner.bench.analysing.significance import Paired
from grasp_planner.bench.records import EpisodeRecord, Record, of_kind
from grasp_planner.bench.timed_records import TimedRecord
from grasp_planner.bench.work import CellName

LEVEL = 0.05
"""Planners whose paired test against the best planner has a p-value of at least this are winners, too."""

BOLD = (
    f"Bold: the best planner, and all planners that a paired test cannot tell from it (p >= {LEVEL}, corrected for the "
    "number of planners)."
)
"""What bold means in a table, for the table's note."""

Scores = Mapping[str, Mapping[Any, float]]
"""For each arm, a score for each problem. Larger scores are better."""


@dataclass(frozen=True)
class Ranking:
    """The arms in order, from the best arm to the worst, over the problems that all arms planned.

    Args:
        scores: the score of each arm over all problems, the best arm first.
        p_values: p-value of the paired test of the best arm against each other arm, corrected for the number of arms.
        problems: number of problems.
    """

    scores: dict[str, float]
    p_values: dict[str, float]
    problems: int

    @property
    def best(self) -> str:
        """The best arm."""
        return next(iter(self.scores))

    @property
    def winners(self) -> tuple[str, ...]:
        """The best arm, and all arms that the paired test cannot tell from the best arm."""
        return (self.best, *(arm for arm, p_value in self.p_values.items() if p_value >= LEVEL))


def ranking(scores: Scores, middle: Callable[[Sequence[float]], float] = mean) -> Ranking | None:
    """Rank the arms by the mean (or another ``middle``) of their scores; ``None`` if there is no common problem.

    The paired test is McNemar's exact test for scores of 0 and 1, and the sign test for other scores. The best arm is
    compared with all others, so the p-values are corrected by Holm's method (Scandinavian Journal of Statistics 6,
    1979).

    >>> ranking({"A": {1: 1.0, 2: 0.0}, "B": {1: 1.0, 2: 1.0}}).winners
    ('B', 'A')
    """
    common = set.intersection(*(set(found) for found in scores.values())) if scores else set()
    if not common:
        return None
    lists = {arm: [found[one] for one in sorted(common)] for arm, found in scores.items()}
    middles = {arm: middle(found) for arm, found in lists.items()}
    order = sorted(middles, key=lambda arm: (-middles[arm], arm))
    tests = {arm: _paired(lists[order[0]], lists[arm]).p_value for arm in order[1:]}
    return Ranking({arm: middles[arm] for arm in order}, holm(tests), len(common))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct the p-values of several tests: the chance that any test of no difference is below p is at most p.

    The i-th smallest of m p-values becomes max_{j <= i} min(1, (m - j + 1) p_j), in the given order of the tests.

    >>> holm({"A": 0.03, "B": 0.01, "C": 0.5})
    {'A': 0.06, 'B': 0.03, 'C': 0.5}
    """
    rising, largest, count = sorted(p_values, key=lambda arm: p_values[arm]), 0.0, len(p_values)
    corrected = {}
    for i, arm in enumerate(rising):
        largest = max(largest, min(1.0, (count - i) * p_values[arm]))
        corrected[arm] = largest
    return {arm: corrected[arm] for arm in p_values}


def success_ranking(records: Sequence[Record], cell: CellName | None = None) -> Ranking | None:
    """Rank arms by their success in one cell, or in all cells; ``None`` if the arms have no episode in common."""
    scores: dict[str, dict[Any, float]] = {}
    for one in of_kind(records, EpisodeRecord):
        if cell in (None, one.work.cell):
            scores.setdefault(one.work.arm, {})[(one.work.cell, one.episode)] = float(one.won)
    return ranking(scores)


def seconds_ranking(records: Sequence[Record], cell: CellName | None = None) -> Ranking | None:
    """Rank arms by the median of the seconds to the first success, as scores below 0, with the largest limit.

    A failure counts as the limit. ``None`` if no limit in seconds was given, or the arms have no problem in common.
    """
    timed = [one for one in of_kind(records, TimedRecord) if one.seconds_limit]
    longest = max((one.seconds_limit for one in timed), default=0.0)
    scores: dict[str, dict[Any, float]] = {}
    for one in timed:
        if one.seconds_limit == longest and cell in (None, one.work.cell):
            first = one.clock.seconds_to_success
            score = -longest if first is None else -first
            scores.setdefault(one.work.arm, {})[(one.work.cell, one.episode)] = score
    return ranking(scores, median)


def won_cells(
    rows: Sequence[Sequence[str]], records: Sequence[Record], rank: Callable[..., Ranking | None]
) -> tuple[tuple[int, int], ...]:
    """Return the places (row, column) of the winners in a table with a row for each arm and a column for each cell.

    The name of an arm (column 0) is marked if the arm is a winner over all cells together.
    """
    cells: list[CellName | None] = [None, *cells_of(records)]
    ranked = [rank(records, cell) for cell in cells]
    return tuple(
        (i, j)
        for i, row in enumerate(rows)
        for j, found in enumerate(ranked)
        if found is not None and len(found.scores) > 1 and row[0] in found.winners
    )


def verdict(records: Sequence[Record]) -> str:
    """Say who won, by how much, and whether chance explains it; an empty text if there are not two arms to compare."""
    found = success_ranking(records)
    timed = seconds_ranking(records) if found is None else None
    ranked = found or timed
    if ranked is None or len(ranked.scores) < 2:
        return ""
    (best, top), (second, next_best), *_ = ranked.scores.items()
    if found is not None:
        by = (
            f"{best} solved {100 * top:.1f} % of {ranked.problems} episodes, {100 * (top - next_best):.1f} percentage "
            f"points more than the second best planner, {second} ({100 * next_best:.1f} %)."
        )
    else:
        by = (
            f"{best} took {-top:.2g} s to the first success (median of {ranked.problems} problems), and the second "
            f"best planner, {second}, took {-next_best:.2g} s."
        )
    p_value = ranked.p_values[second]
    test = "p" if len(ranked.p_values) == 1 else "corrected p"
    chance = "Chance may explain" if p_value >= LEVEL else "Chance does not explain"
    said = [by, f"{chance} this difference (paired test, {test} = {p_value:.2g})."]
    if others := [arm for arm in ranked.winners[1:] if arm != second]:
        said.append(f"The test cannot tell {best} from {' and '.join(others)} either.")
    return " ".join(said)


def highlighted(records: Sequence[Record]) -> str:
    """Return the arm that charts highlight: ``recommended`` if it is there, otherwise the best; empty if there is none.

    If arms have no problem in common, there is no best arm.
    """
    if any(one.work.arm == "recommended" for one in records):
        return "recommended"
    found = success_ranking(records) or seconds_ranking(records)
    return found.best if found is not None else ""


def _paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    pairs = list(zip(first, second, strict=True))
    return Paired.of([a > b for a, b in pairs], [a < b for a, b in pairs])
