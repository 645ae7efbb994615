"""Print tables of results on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from grasp_planner.bench.analysing.rows import Table as Texts
    from grasp_planner.bench.running.open_loop import Evaluation

WIDTH = 100  # characters, if the output is not a terminal


def consoles() -> tuple[Console, Console]:
    """Return the console for results (stdout) and the console for progress (stderr)."""
    from rich.console import Console

    results = Console(highlight=False)
    if not results.is_terminal:
        results = Console(highlight=False, width=WIDTH)
    return results, Console(stderr=True)


def print_results(console: Console, evaluations: Sequence[Evaluation], model: str) -> None:
    """Print the settings, a table with one row per planner, which planner won, and a legend."""
    first = evaluations[0]
    count, horizon = len(first.episodes), first.task.horizon
    console.print(f"[bold]{first.task.name}[/], {horizon} steps ahead, {count} episodes, planned in {model}")
    console.print(results_table(evaluations))
    if len(evaluations) > 1:
        console.print(who_won(evaluations), style="bold")
    console.print(
        "Success: at the goal after the last step. Distances: medians, in the simulator.\n"
        f"Seconds: planning all {count} episodes in one batch. Transitions: model steps per episode.",
        style="dim",
    )


def who_won(evaluations: Sequence[Evaluation]) -> str:
    """Return a sentence that names the planner that solved most episodes in the simulator, and the number of each."""
    from grasp_planner.cli.planner_choices import label

    ranked = sorted(((label(one.planner), int(one.success.sum())) for one in evaluations), key=lambda one: -one[1])
    (best, most), *others = ranked
    winners = [name for name, solved in ranked if solved == most]
    if most == 0:
        outcome = "no planner wins"
    elif len(winners) > 1:
        outcome = f"{listed(winners)} tie"
    else:
        outcome = f"{best} wins"
    rest = ", ".join(f"{name} {solved}" for name, solved in others)
    return f"In the simulator, {outcome}: {best} solved {most} of {len(evaluations[0].episodes)} episodes; {rest}."


def listed(names: Sequence[str]) -> str:
    """Join names as in a sentence.

    >>> listed(["GD"]), listed(["GD", "CEM"]), listed(["GD", "CEM", "LatCo"])
    ('GD', 'GD and CEM', 'GD, CEM and LatCo')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def results_table(evaluations: Sequence[Evaluation]) -> Table:
    """Return a table with one row per planner: success, distances, and the budget spent."""
    from rich.table import Table

    from grasp_planner.cli.planner_choices import label

    first = evaluations[0]
    count, measures = len(first.episodes), [name for name in first.distances if name.startswith(("position", "angle"))]
    table = Table()
    table.add_column("planner")
    table.add_column("success,\nsimulator", justify="right")
    table.add_column("success,\nmodel", justify="right")
    for name in measures:
        quantity, _, unit = name.partition("_")
        table.add_column(f"{quantity},\n{unit}" if unit else quantity, justify="right")
    table.add_column("planning,\nseconds", justify="right")
    table.add_column("model\ntransitions", justify="right")
    for evaluation in evaluations:
        under_model = evaluation.success_model
        table.add_row(
            label(evaluation.planner) + ("\n(interrupted)" if evaluation.interrupted else ""),
            f"{int(evaluation.success.sum())} / {count}",
            "-" if under_model is None else f"{int(under_model.sum())} / {count}",
            *(f"{np.median(evaluation.distances[name]):.3g}" for name in measures),
            f"{evaluation.plan.seconds:.1f}",
            f"{evaluation.plan.transitions:,}",
        )
    return table


def print_table(console: Console, texts: Texts) -> None:
    """Print a table made from records, and its legend."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=texts.title, title_justify="left")
    for i, column in enumerate(texts.columns):
        table.add_column(column, justify="right" if i else "left")
    for i, row in enumerate(texts.rows):
        table.add_row(*(Text(text, "bold" if (i, j) in texts.bold else "") for j, text in enumerate(row)))
    console.print(table)
    console.print(texts.note, style="dim")
