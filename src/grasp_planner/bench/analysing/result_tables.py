"""Tables of results, computed from records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from grasp_planner.bench.analysing.cells import OfWork, arms_of, cells_of, label_of
from grasp_planner.bench.analysing.rows import EMPTY, Table, columns_of, number_text, published_row, row_of, share_text
from grasp_planner.bench.analysing.significance import Paired
from grasp_planner.bench.analysing.timed_tables import seconds_table, timed_success_table
from grasp_planner.bench.analysing.winners import BOLD, success_ranking, won_cells
from grasp_planner.bench.records import ChoiceRecord, EpisodeRecord, Record, of_kind
from grasp_planner.bench.suites.published_results import PUBLISHED, PublishedTable
from grasp_planner.bench.suites.settings import settings_text
from grasp_planner.bench.suites.suite import compared_arms

DERIVATIVES = (
    "A transition is one row of a model call. Backward passes are not counted: a step of gradient descent counts the "
    "horizon's transitions for each start, as a rollout does, and the linearisation of a Gauss-Newton step counts as "
    "many, whatever the number of its vector-Jacobian products. With equal processor time, derivatives count what they "
    "cost."
)


def tables(records: Sequence[Record], published: str = "") -> list[Table]:
    """Return all tables for which there are records.

    Args:
        records: the records of one suite.
        published: name of a table of ``published_results`` that is shown next to the results; empty: no table.
    """
    theirs = PUBLISHED.get(published)
    made = [
        success_table(records, theirs),
        seconds_table(records, theirs),
        timed_success_table(records),
        pairs_table(records),
        failure_table(records),
        model_table(records),
        distance_table(records),
        gap_table(records),
        spending_table(records),
        tuning_table(records),
    ]
    return [table for table in made if table.rows]


def success_table(records: Sequence[Record], theirs: PublishedTable | None = None) -> Table:
    """Return success in the simulator after the last step (closed loop: at any time), with 95 % intervals."""
    tested = of_kind(records, EpisodeRecord)
    rows = []
    for arm in arms_of(tested):
        rows.append(row_of(arm, tested, lambda found: share_text([record.won for record in found])))
        if theirs is not None:
            rows += published_row(arm, tested, theirs, lambda cell: f"{cell.success:.1f} %")
    closed = any(record.work.mode == "closed-loop" for record in tested)
    when = "at any time" if closed else "after the last step"
    note = (
        f"Percent of {_counts(tested)} test episodes at the goal {when} in the simulator, with Wilson's 95 % interval."
    )
    note = " ".join([note, BOLD, *budget_notes(tested), *settings_notes(records)])
    if theirs is not None:
        note += f" Published: {theirs.source}. {theirs.about}"
    bold = won_cells(rows, tested, success_ranking)
    return Table("success", "Success in the simulator", columns_of(tested), tuple(rows), note, bold)


def pairs_table(records: Sequence[Record]) -> Table:
    """Compare the recommended planner and GRASP with every other arm on the same episodes."""
    tested = of_kind(records, EpisodeRecord)
    names = arms_of(tested)
    if len(names) < 2:
        return Table("pairs", "", (), ())
    mains = compared_arms(names)
    pairs = [(main, other) for i, main in enumerate(mains) for other in names if other not in mains[: i + 1]]

    def compared(found: Sequence[EpisodeRecord], arms: tuple[str, str]) -> str:
        first, second = ({r.episode: r.won for r in found if r.work.arm == arm} for arm in arms)
        both = sorted(set(first) & set(second))
        if not both:
            return EMPTY
        pair = Paired.of([first[i] for i in both], [second[i] for i in both])
        return f"{100 * pair.difference:+.1f} ({pair.first_only}:{pair.second_only}, p = {pair.p_value:.2g})"

    by_cell = [[record for record in tested if record.work.cell == cell] for cell in cells_of(tested)]
    rows = [(" - ".join(arms), *(compared(found, arms) for found in by_cell)) for arms in pairs]
    note = (
        "Difference of success in percentage points; in brackets the number of episodes that only the first planner "
        "solved, the number that only the second planner solved, and the two-sided p-value of McNemar's exact test on "
        "these pairs. The p-values are not corrected for the number of comparisons."
    )
    title = f"{' and '.join(mains)} compared with the other planners"
    return Table("pairs", title, columns_of(tested), tuple(rows), note)


def model_table(records: Sequence[Record]) -> Table:
    """Return success in the model's rollout, and success at any time in the simulator."""
    tested = [record for record in of_kind(records, EpisodeRecord) if record.success_model is not None]
    rules: dict[str, Callable[[EpisodeRecord], bool | None]] = {
        "model": lambda record: record.success_model,
        "any time": lambda record: record.reached,
    }
    return Table(
        name="model",
        title="Success in the model, and at any time",
        columns=columns_of(tested),
        rows=tuple(_rows_of_kinds(tested, rules, share_text)),
        note="Model: at the goal after the last step of the model's rollout. Any time: at the goal after any step in "
        "the simulator, which is an easier rule than after the last step.",
    )


def failure_table(records: Sequence[Record]) -> Table:
    """Count the failed episodes in which the search failed, and those in which the model was wrong."""
    tested = [record for record in of_kind(records, EpisodeRecord) if record.success_model is not None]
    rules: dict[str, Callable[[EpisodeRecord], bool | None]] = {
        "search failed": lambda record: None if record.won else not record.success_model,
        "model wrong": lambda record: None if record.won else record.success_model,
    }
    return Table(
        name="failures",
        title="Why episodes failed",
        columns=columns_of(tested),
        rows=tuple(_rows_of_kinds(tested, rules, _among_failures)),
        note="Number of failed episodes with this cause, of all failed episodes. Search failed: the rollout of the "
        "plan in the model does not end at the goal. Model wrong: the rollout ends at the goal, and the simulator does "
        "not.",
    )


def distance_table(records: Sequence[Record]) -> Table:
    """Return the median distances to the goal in the simulator after the last step."""
    tested = of_kind(records, EpisodeRecord)
    measured = dict.fromkeys(name for record in tested for name in record.distances)
    distances: dict[str, Callable[[EpisodeRecord], float | None]] = {
        name.replace("_", " ", 1).replace("_", " / "): lambda record, name=name: record.distances.get(name)
        for name in measured
        if name.startswith(("position", "angle"))
    }
    rows = _rows_of_kinds(tested, distances, _median)
    note = "Medians of the distance to the goal in the simulator after the last step."
    return Table("distances", "Distance to the goal", columns_of(tested), tuple(rows), note)


def gap_table(records: Sequence[Record]) -> Table:
    """Return the gaps between virtual states, rollout and simulator."""
    tested = [record for record in of_kind(records, EpisodeRecord) if record.gap_rollout_simulator is not None]
    gaps: dict[str, Callable[[EpisodeRecord], float | None]] = {
        "virtual - rollout": lambda record: record.gap_virtual_rollout,
        "rollout - simulator": lambda record: record.gap_rollout_simulator,
    }
    rows = [row for row in _rows_of_kinds(tested, gaps, _median) if any(row[1:])]
    note = (
        "Root mean square over time and coordinates, in units of the model's scale; medians over episodes. Virtual "
        "states are those after the last lifted step."
    )
    return Table("gaps", "Gaps between virtual states, model and simulator", columns_of(tested), tuple(rows), note)


def spending_table(records: Sequence[Record]) -> Table:
    """Return the numbers of model transitions and model calls, and the processor time."""
    tested = of_kind(records, EpisodeRecord)
    rows = [row_of(arm, tested, _spending) for arm in arms_of(tested)]
    timed = any(record.clock.processor_seconds is not None for record in tested)
    note = " ".join(
        [
            "Model transitions per episode / model calls per batch of episodes"
            f"{' / processor seconds of planning per episode' if timed else ''}.",
            *budget_notes(tested),
            "The budget is the same for all planners.",
            DERIVATIVES,
        ]
    )
    return Table("spending", "Model transitions and calls", columns_of(tested), tuple(rows), note)


def tuning_table(records: Sequence[Record]) -> Table:
    """Return the chosen and the fixed settings, with the success of chosen settings on validation episodes."""
    choices = of_kind(records, ChoiceRecord)
    names, cells = arms_of(choices), cells_of(choices)
    rows = []
    for record in sorted(choices, key=lambda one: (one.work.cell, names.index(one.work.arm))):
        winner, own = record.winner, record.settings_of == record.work.arm
        origin = record.settings_of if not own else "fixed" if winner is None else f"trial {winner.trial}"
        share = EMPTY if winner is None else f"{100 * winner.success:.0f} %"
        if winner is not None and winner.seconds is not None:
            share += f", {winner.seconds:.2g} s"
        settings = settings_text(record.work.planner)
        rows.append((record.work.arm, label_of(record.work.cell, cells), origin, share, settings))
    notes = settings_notes(records)
    if won := next((record.winner for record in choices if record.winner is not None), None):
        budget = "the budget of the test" if won.seconds is None else "the same limit in seconds"
        notes.append(
            f"The tuning is the same for every tuned planner: {list(won.trials)} trials on {list(won.episodes)} "
            f"validation episodes of each cell, with {budget}."
        )
        if won.seconds is not None:
            notes.append(
                "Settings are chosen by the mean seconds to the first plan that succeeds, which is shown after the "
                "share of solved episodes. A failure counts as the limit of the seconds."
            )
    note = " ".join([*notes, "Settings that are not listed have their defaults."])
    return Table("tuning", "Chosen settings", ("planner", "cell", "from", "validation", "settings"), tuple(rows), note)


def budget_notes(records: Sequence[OfWork]) -> list[str]:
    """Return a sentence that says the budgets of the plans; nothing if there are no records."""
    budgets = {
        f"{work.seconds_per_problem:g} s of one thread" if work.seconds_per_problem else f"{work.rollouts} rollouts"
        for work in (record.work for record in records)
    }
    return [f"Every plan has a budget of {' or '.join(sorted(budgets))} per episode."] if budgets else []


def settings_notes(records: Sequence[Record]) -> list[str]:
    """Return sentences that say which arms were tuned, with how many draws, and which arms have fixed settings."""
    choices = of_kind(records, ChoiceRecord)
    groups: dict[str, set[str]] = {}
    for record in choices:
        winner, arm, own = record.winner, record.work.arm, record.settings_of == record.work.arm
        if not own:
            groups.setdefault(f"With the settings of {record.settings_of}, changed", set()).add(arm)
        elif winner is None:
            groups.setdefault("With one fixed setting for all cells, without tuning", set()).add(arm)
        else:
            scope = "over all cells together" if winner.together else "for each cell"
            groups.setdefault(f"Tuned with {winner.trials[0]} draws {scope}", set()).add(arm)
    return [f"{title}: {'; '.join(sorted(arms))}." for title, arms in sorted(groups.items())]


def _rows_of_kinds(
    records: Sequence[EpisodeRecord],
    kinds: Mapping[str, Callable[[EpisodeRecord], Any]],
    text: Callable[[list[Any]], str],
) -> list[tuple[str, ...]]:
    """Return one row for every arm and kind of value, with a text for each cell."""
    return [
        row_of(f"{arm}, {kind}", records, lambda found, value=value: text([value(record) for record in found]), arm)
        for arm in arms_of(records)
        for kind, value in kinds.items()
    ]


def _among_failures(causes: Sequence[bool | None]) -> str:
    """Return the number of failures with a cause among all failures; ``None`` stands for a solved episode."""
    failed = [cause for cause in causes if cause is not None]
    return f"{sum(map(bool, failed))} of {len(failed)}" if failed else "no failure"


def _spending(records: Sequence[EpisodeRecord]) -> str:
    clocks = [record.clock for record in records]
    processor = [one.processor_seconds / one.batch for one in clocks if one.processor_seconds is not None]
    spent = [_median(record.transitions for record in records), f"{records[0].calls:,}"]
    return " / ".join([*spent, f"{median(processor):.2g} s"] if processor else spent)


def _median(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return EMPTY
    return number_text(median(known))


def _counts(records: Sequence[EpisodeRecord]) -> str:
    """Return the number of episodes per arm and cell, as a range where it differs."""
    counts = sorted(
        {
            sum(record.work.arm == arm and record.work.cell == cell for record in records)
            for cell in cells_of(records)
            for arm in arms_of(records)
        }
    )
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
