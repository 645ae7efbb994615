"""Tables: pure functions of records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from grasp_planner.bench.analysing.significance import Paired, Share
from grasp_planner.bench.records import CLOCK, Record
from grasp_planner.bench.suites.published_results import PUBLISHED, PublishedTable

Place = tuple[str, int, str]
"""A cell of a suite: task, horizon, model."""

EMPTY = ""


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Args:
        name: for files and links.
        title: what it shows.
        columns: headings; the first is that of the row's own name.
        rows: as many texts as there are columns; those after the first are set to the right.
        note: how to read it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(records: Sequence[Record], published: str = "") -> list[Table]:
    """Every table that there are records for.

    Args:
        records: of one suite.
        published: the name of a table of ``bench.published`` to stand beside ours; empty: none.
    """
    beside = PUBLISHED.get(published)
    made = [
        success_table(records, beside),
        seconds_table(records, beside),
        pairs_table(records),
        model_table(records),
        distance_table(records),
        gap_table(records),
        spending_table(records),
        tuning_table(records),
    ]
    return [table for table in made if table.rows]


def success_table(records: Sequence[Record], beside: PublishedTable | None = None) -> Table:
    """Success in the simulator after the last step (closed loop: at any time), with Wilson's 95% interval."""
    tested = of_kind(records, "episode")
    closed = any(record["mode"] == "closed-loop" for record in tested)
    wins = "reached" if closed else "success"
    rows = []
    for arm in arms(tested):
        rows.append(_row(arm, tested, lambda found: str(_share(found, wins))))
        if beside is not None:
            rows += _published_row(arm, tested, beside, lambda cell: f"{cell.success:.1f} %")
    when = "at any time" if closed else "after the last step"
    note = (
        f"Percent of {_counts(tested)} test episodes at the goal {when} in the simulator, with Wilson's 95% interval."
    )
    if beside is not None:
        note += f" Published: {beside.source}. {beside.says}"
    return Table("success", "Success in the simulator", _columns(tested), tuple(rows), note)


def seconds_table(records: Sequence[Record], beside: PublishedTable | None = None) -> Table:
    """Median seconds to the first plan that succeeds in the simulator, over the problems where there was one."""
    timed = of_kind(records, "timed")
    rows = []
    for arm in arms(timed):
        rows.append(_row(arm, timed, _median_seconds))
        if beside is not None:
            rows += _published_row(
                arm, timed, beside, lambda cell: "-" if cell.seconds is None else f"{cell.seconds} s"
            )
    limits = sorted({record["seconds_limit"] for record in timed})
    note = (
        "Median seconds until the plan in hand succeeds in the simulator, and in how many problems it ever did: one "
        "problem at a time, on one core, warmed up, one planner after the other. Plans are kept with their times while "
        "planning and carried out afterwards. The median is over solved problems alone, so a planner that solves only "
        "easy ones looks fast."
    )
    if any(limits):
        note += f" Planning ends after {', '.join(f'{limit:g}' for limit in limits)} s."
    return Table("seconds", "Seconds to the first plan that succeeds", _columns(timed), tuple(rows), note)


def pairs_table(records: Sequence[Record]) -> Table:
    """The main arm against every other on the same episodes."""
    tested = of_kind(records, "episode")
    names = arms(tested)
    if len(names) < 2:
        return Table("pairs", "", (), ())
    main = "GRASP" if "GRASP" in names else names[0]

    def compared(other: str) -> Callable[[list[Record]], str]:
        def text(found: list[Record]) -> str:
            first, second = ({r["episode"]: _won(r) for r in found if r["arm"] == arm} for arm in (main, other))
            both = sorted(set(first) & set(second))
            if not both:
                return EMPTY
            pair = Paired.of([first[i] for i in both], [second[i] for i in both])
            return f"{100 * pair.difference:+.1f} ({pair.first_only}:{pair.second_only}, p = {pair.p_value:.2g})"

        return text

    rows = [
        (f"{main} - {other}", *(compared(other)(_at(tested, place)) for place in places(tested)))
        for other in names
        if other != main
    ]
    note = (
        f"Difference of success in percentage points; how many episodes only {main} and only the other solved; and the "
        "two-sided p-value of McNemar's exact test on these pairs. Not corrected for the number of comparisons."
    )
    return Table("pairs", f"{main} against the others, episode by episode", _columns(tested), tuple(rows), note)


def model_table(records: Sequence[Record]) -> Table:
    """Success as the model sees it, and at any time."""
    tested = [record for record in of_kind(records, "episode") if record.get("success_model") is not None]
    rows = []
    for arm in arms(tested):
        rows.append(_row(f"{arm}, model", tested, lambda found: str(_share(found, "success_model")), arm))
        rows.append(_row(f"{arm}, any time", tested, lambda found: str(_share(found, "reached")), arm))
    note = (
        "At the goal after the last step in the model's own rollout; and at any step in the simulator, an easier rule."
    )
    return Table("model", "Success under the model, and at any time", _columns(tested), tuple(rows), note)


def distance_table(records: Sequence[Record]) -> Table:
    """Median distances to the goal in the simulator at the end."""
    tested = of_kind(records, "episode")
    rows = []
    for arm in arms(tested):
        for name in _measures(tested):
            what = f"{arm}, {name.replace('_', ' ', 1).replace('_', ' / ')}"
            rows.append(
                _row(what, tested, lambda found, name=name: _median(r["distances"].get(name) for r in found), arm)
            )
    return Table("distances", "How far from the goal", _columns(tested), tuple(rows), "Medians, simulator, last step.")


def gap_table(records: Sequence[Record]) -> Table:
    """Gaps between virtual states, rollout and simulator."""
    tested = [record for record in of_kind(records, "episode") if record.get("gap_rollout_simulator") is not None]
    rows = []
    for arm in arms(tested):
        for name, what in (
            ("gap_virtual_rollout", "virtual - rollout"),
            ("gap_rollout_simulator", "rollout - simulator"),
        ):
            row = _row(f"{arm}, {what}", tested, lambda found, name=name: _median(r[name] for r in found), arm)
            rows += [row] if any(row[1:]) else []
    note = (
        "Root mean square over time and coordinates, in units of the model's scale; medians over episodes. Virtual "
        "states: as they last were before a sync."
    )
    return Table("gaps", "What was believed and what was so", _columns(tested), tuple(rows), note)


def spending_table(records: Sequence[Record]) -> Table:
    """Model transitions and calls."""
    tested = of_kind(records, "episode")
    rows = [
        _row(arm, tested, lambda found: f"{_median(r['transitions'] for r in found)} / {found[0]['calls']:,}")
        for arm in arms(tested)
    ]
    note = "Model transitions for each episode / model calls for a whole batch of them. The budget is the same for all."
    return Table("spending", "What planning took", _columns(tested), tuple(rows), note)


def tuning_table(records: Sequence[Record]) -> Table:
    """What was chosen on validation episodes."""
    chosen = of_kind(records, "choice")
    rows = []
    for record in sorted(chosen, key=lambda one: (place(one), arms(chosen).index(one["arm"]))):
        label = _label(place(record), places(chosen))
        share = f"{100 * record['success']:.0f} %"
        origin = record["tuned_as"] if record["tuned_as"] != record["arm"] else ""
        rows.append(
            (record["arm"], label, origin or f"trial {record['trial']}", share, settings_text(record["planner"]))
        )
    tries = f"{chosen[0]['trials']} trials on {chosen[0]['episodes']} validation episodes" if chosen else ""
    note = (
        f"Alike for every planner, task and horizon: {tries}, at the budget of the test. Settings not named: defaults."
    )
    return Table(
        "tuning", "Settings, as chosen", ("planner", "where", "from", "validation", "settings"), tuple(rows), note
    )


def settings_text(settings: dict[str, Any]) -> str:
    """Settings in one line.

    >>> settings_text({"name": "grasp", "state_lr": 0.2, "sync": {"name": "gd", "rate": 0.1}})
    'state_lr 0.2, sync (gd rate 0.1)'
    """
    parts = []
    for name, value in settings.items():
        if name == "name":
            continue
        inner = f"({value['name']} {settings_text(value)})" if isinstance(value, dict) else None
        parts.append(f"{name} {inner or (value if isinstance(value, str) else json.dumps(value))}")
    return ", ".join(parts)


def of_kind(records: Iterable[Record], kind: str) -> list[Record]:
    """The records of a kind."""
    return [record for record in records if record["kind"] == kind]


def arms(records: Iterable[Record]) -> list[str]:
    """Names of arms: the rivals in alphabetical order, then GRASP."""
    return sorted({record["arm"] for record in records}, key=lambda name: (name == "GRASP", name))


def place(record: Record) -> Place:
    """The cell that a record belongs to."""
    return record["task"], record["horizon"], record["model"]


def places(records: Iterable[Record]) -> list[Place]:
    """The cells, in order."""
    return sorted({place(record) for record in records})


def _label(where: Place, among: Sequence[Place]) -> str:
    task, horizon, model = where
    label = f"H = {horizon}"
    if len({one[0] for one in among}) > 1:
        label = f"{task.partition('/')[0]} {label}"
    return f"{label}, {model}" if len({one[2] for one in among if one[0] == task}) > 1 else label


def _columns(records: Sequence[Record]) -> tuple[str, ...]:
    among = places(records)
    return ("planner", *(_label(one, among) for one in among))


def _at(records: Sequence[Record], where: Place) -> list[Record]:
    return [record for record in records if place(record) == where]


def _row(
    name: str, records: Sequence[Record], text: Callable[[list[Record]], str], arm: str | None = None
) -> tuple[str, ...]:
    mine = [record for record in records if record["arm"] == (name if arm is None else arm)]
    cells = [_at(mine, where) for where in places(records)]
    return (name, *(text(found) if found else EMPTY for found in cells))


def _published_row(
    arm: str, records: Sequence[Record], beside: PublishedTable, text: Callable[[Any], str]
) -> list[tuple[str, ...]]:
    cells = [beside.cells.get((arm, horizon)) for _, horizon, _ in places(records)]
    if not any(cells):
        return []
    return [(f"{arm}, published", *(EMPTY if cell is None else text(cell) for cell in cells))]


def _won(record: Record) -> bool:
    return record["reached"] if record["mode"] == "closed-loop" else record["success"]


def _share(records: Sequence[Record], name: str) -> Share:
    return Share(sum(bool(record[name]) for record in records), len(records))


def _median_seconds(records: Sequence[Record]) -> str:
    first = [record[CLOCK]["seconds_to_success"] for record in records]
    solved = [seconds for seconds in first if seconds is not None]
    return f"{median(solved):.2g} s ({len(solved)} of {len(first)})" if solved else f"- (0 of {len(first)})"


def _median(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return EMPTY
    middle = median(known)
    return f"{middle:,.0f}" if middle >= 1000 else f"{middle:.3g}"


def _counts(records: Sequence[Record]) -> str:
    counts = sorted(
        {len([r for r in _at(records, where) if r["arm"] == arm]) for where in places(records) for arm in arms(records)}
    )
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"


def _measures(records: Sequence[Record]) -> list[str]:
    named = dict.fromkeys(name for record in records for name in record["distances"])
    return [name for name in named if name.startswith(("position", "angle"))]
