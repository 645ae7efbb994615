"""What commands leave behind: a folder of files that are all there or not at all, and tables for people."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.errors import GraspPlannerError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from grasp_planner.bench.evaluate import Evaluation

SCHEMA = 1
WIDTH = 100  # of tables that do not go to a terminal


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write to, whose files move to ``folder`` when all of them are there.

    Entering it proves that ``folder`` can be written, so that this is known before the work and not after it. When
    anything goes wrong, Ctrl-C included, ``folder`` is left as it was.

    Raises:
        GraspPlannerError: ``folder`` is a file, or cannot be made or written.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".grasp-", dir=folder))
    except OSError as error:
        _remove_empty(new)
        raise GraspPlannerError(
            f"needed a folder that can be written, got {folder}: {error.strerror}; give another with --out"
        ) from error
    try:
        yield staging
        for path in sorted(staging.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(new)


@contextmanager
def leaving_no_empty_folder(folder: Path) -> Iterator[None]:
    """Take ``folder`` away again if something goes wrong before anything was written to it.

    Raises:
        GraspPlannerError: ``folder`` is a file, or cannot be made or written.
    """
    with output_folder(folder):
        pass
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        _remove_empty(new)
        raise


@contextmanager
def hint_when_stopped(hint: str) -> Iterator[None]:
    """Say on stderr how to go on, when Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"grasp: {hint}", file=sys.stderr)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Take away folders that were made here and hold nothing, the innermost first."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:
            return


def write_results(path: Path, evaluations: Sequence[Evaluation], **about: Any) -> None:
    """Settings, measurements and versions as JSON."""
    content = {
        "schema": SCHEMA,
        **about,
        "versions": versions(),
        "evaluations": [evaluation.summary() for evaluation in evaluations],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_plans(path: Path, evaluation: Evaluation) -> None:
    """The plans as arrays: actions in model and in environment units, states imagined and simulated."""
    found = evaluation.plan
    arrays = {
        "model_actions": found.actions.numpy(force=True),
        "environment_actions": evaluation.actions,
        "latents": found.states.numpy(force=True),
        "cost": found.cost.numpy(force=True),
        "best_cost_per_step": found.trace.cost.numpy(force=True),
        "simulated_states": np.stack([outcome.states for outcome in evaluation.outcomes]),
        "goals": evaluation.goals,
    }
    if evaluation.imagined is not None:
        arrays["imagined_states"] = evaluation.imagined
    np.savez_compressed(path, allow_pickle=False, **arrays)


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    from importlib.metadata import version

    names = ("grasp-planner", "torch", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def consoles() -> tuple[Console, Console]:
    """Where results go (stdout) and where progress goes (stderr)."""
    from rich.console import Console

    results = Console(highlight=False)
    if not results.is_terminal:
        results = Console(highlight=False, width=WIDTH)
    return results, Console(stderr=True)


def print_results(console: Console, evaluations: Sequence[Evaluation], model: str) -> None:
    """What was asked, a table with one row a planner, and how to read it."""
    first = evaluations[0]
    count, horizon = len(first.episodes), first.task.horizon
    console.print(f"[bold]{first.task.name}[/], {horizon} steps ahead, {count} episodes, planned in {model}")
    console.print(results_table(evaluations))
    console.print(
        "Success: at the goal after the last step. Distances: medians, in the simulator.\n"
        f"Seconds: planning {count} episodes at once. Transitions: model steps for each.",
        style="dim",
    )


def results_table(evaluations: Sequence[Evaluation]) -> Table:
    """One row a planner: success, distances, and what it cost."""
    from rich.table import Table

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
            type(evaluation.planner).__name__ + ("\n(interrupted)" if evaluation.interrupted else ""),
            f"{int(evaluation.success.sum())} / {count}",
            "-" if under_model is None else f"{int(under_model.sum())} / {count}",
            *(f"{np.median(evaluation.distances[name]):.3g}" for name in measures),
            f"{evaluation.plan.seconds:.1f}",
            f"{evaluation.plan.transitions:,}",
        )
    return table
