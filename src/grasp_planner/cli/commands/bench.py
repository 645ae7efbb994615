"""``grasp bench``: run a suite of comparisons, from tuning to records."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.parsing import POSITIONAL, parse
from grasp_planner.cli.tables import consoles
from grasp_planner.io.progress import progress_bars

LINES = 20  # lines per stage in a log file


@dataclass(frozen=True)
class Bench:
    """Run a suite: tune all planners in the same way on validation episodes, then measure them on test episodes.

    If the command is stopped or killed, run it again: it continues where it stopped. Every measurement is a line of a
    file in --out; `grasp report` makes tables and charts from these files. Suites: push-t-long, push-t-equal-time,
    short, ablation, anytime, closed-loop, very-long, patches, patches-short, patches-ablation, patches-anytime,
    patches-closed-loop, lewm, smoke; or a TOML file of your own.

    Args:
        suite: name of a suite, or a TOML file.
        out: the folder for the records; None: out/bench/SUITE.
        pixels: run the suite in models that read pictures.
        models: run only the cells of these models.
        reuse: folders of other runs; their records are reused for cells with exactly the same settings.
        engine: how the work is distributed: processes, serial, or ray.
        workers: number of processes; None: one per core.
        address: address of a running Ray cluster; None: start a local cluster.
        plan_only: print the plan of the run and stop.
    """

    suite: Annotated[str, POSITIONAL]
    out: Path | None = None
    pixels: bool = False
    models: tuple[str, ...] = ()
    reuse: tuple[Path, ...] = ()
    engine: str = "processes"
    workers: int | None = None
    address: str | None = None
    plan_only: bool = False


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse(Bench, arguments, "bench")
    console, progress_console = consoles()
    from grasp_planner.bench.analysing.result_tables import tables
    from grasp_planner.bench.running.earlier_runs import Earlier
    from grasp_planner.bench.running.engines import engine
    from grasp_planner.bench.running.suite_run import Run
    from grasp_planner.bench.suites.loading import load_suite
    from grasp_planner.cli.limits import threads
    from grasp_planner.cli.tables import print_table

    suite = load_suite(settings.suite, "pixels" if settings.pixels else "state").only(settings.models)
    out = Path("out/bench") / suite.name if settings.out is None else settings.out
    if settings.plan_only:
        for line in plan_of(suite):
            console.print(line)
        return 0
    with (
        threads(1),
        leaving_no_empty_folder(out),
        hint_when_stopped(lambda: "run the same command again to continue where it stopped"),
        engine(settings.engine, settings.workers, settings.address) as workers,
        progress_bars(progress_console) as bars,
    ):
        begun = Run(suite, out, Earlier(settings.reuse))
        shown: dict[str, Callable[..., None]] = {}

        def watch(stage: str, done: int, total: int, remark: str) -> None:
            if stage not in shown:
                shown[stage] = bars.task(f"{suite.name}: {stage}")
            shown[stage](done / total if total else 1.0, f"{done} of {total}  {remark}")
            # In a log file, a progress bar appears only when it is finished, which can take hours.
            lines, whole = done * LINES, max(1, total)
            if not progress_console.is_terminal and lines // whole > (lines - LINES) // whole:
                print(f"{time.strftime('%H:%M:%S')}  {stage}: {done} of {total}  {remark}", file=sys.stderr, flush=True)

        begun.go(workers, watch, lambda text: progress_console.print(f"warning: {text}"))
        records = begun.records()
    for table in tables(records)[:1]:
        print_table(console, table)
    console.print(f"records are in {out}; `grasp report {out}` makes a page from them")
    return 0


def plan_of(suite: Any) -> list[str]:
    """Describe what a suite does, one line for each part."""
    tuned = [arm.name for arm in suite.arms if arm.space]
    fixed = [arm.name for arm in suite.arms if arm.planner]
    tries, known = suite.tuning.trials, (0, *suite.tuning.episodes)
    plans = sum(n * (known[i + 1] - known[i]) for i, n in enumerate(tries)) * len(tuned) * len(suite.cells)
    timed = suite.timed.episodes * len(suite.arms) * len(suite.cells) * max(1, len(suite.timed.seconds))
    batches = -(-suite.timed.episodes // suite.timed.batch) * len(suite.arms) * len(suite.cells)
    longest = batches * sum(suite.timed.seconds) + plans * suite.tuning.seconds / suite.timed.batch
    lines = [f"{suite.name}: {suite.title}. {suite.about}."]
    lines += [f"  {cell}" for cell in suite.cells]
    lines += [f"  arms: {', '.join(arm.name for arm in suite.arms)}"]
    scope = "all cells together" if suite.tuning.together else "each cell"
    lines += [f"  tuned for {scope}: {'; '.join(tuned)}" if tuned else "  tuned: no arm"]
    lines += [f"  with fixed settings: {'; '.join(fixed) or 'no arm'}"]
    if tries:
        lines += [f"  tuning: {tries} trials on {suite.tuning.episodes} validation episodes, {plans:,} plans"]
    lines += [f"  test: {suite.episodes * len(suite.arms) * len(suite.cells):,} plans in batches of {suite.chunk}"]
    at_a_time = "one episode" if suite.timed.batch == 1 else f"{suite.timed.batch} episodes"
    lines += [f"  timed {at_a_time} at a time: {timed:,} plans"]
    if longest:
        lines += [f"  seconds of planning with a limit in seconds: at most {longest:,.0f}"]
    if suite.seconds_per_problem:
        lines += [f"  budget of a plan: {suite.seconds_per_problem:g} seconds of one thread for each episode"]
    elif suite.rollouts:
        lines += [f"  budget of a plan: {suite.rollouts} horizons of model transitions for each episode"]
    return lines
