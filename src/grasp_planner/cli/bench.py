"""``grasp bench``: a suite of comparisons, from tuning to records."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.parsing import command_class, parse, settings_from
from grasp_planner.cli.tables import consoles
from grasp_planner.io.progress import progress_bars

LINES = 20  # a stage, in a log


@dataclass(frozen=True)
class Bench:
    """Run a suite: tune every planner alike on validation episodes, then measure on test episodes.

    Run the same command again after a stop, even a kill, and it goes on where it stopped. Every measurement is a line
    of a file in --out; `grasp report` makes tables and pictures of them. Suites: push-t-long, short, ablation,
    anytime, closed-loop, smoke; or a TOML file of your own.

    Args:
        suite: its name, or a file.
        out: the folder for the records; None: out/bench/SUITE.
        pixels: the same suite in models that read pictures.
        models: only the cells of these models.
        reuse: folders of other runs, whose records are taken where they are of exactly the same work.
        engine: who does the work: processes, serial, or ray.
        workers: processes; None: one a core.
        address: of a running Ray cluster; None: a local one.
        plan_only: print what would be done, and do nothing.
    """

    suite: str
    out: Path | None = None
    pixels: bool = False
    models: tuple[str, ...] = ()
    reuse: tuple[Path, ...] = ()
    engine: str = "processes"
    workers: int | None = None
    address: str | None = None
    plan_only: bool = False


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parsed: Any = parse(command_class(Bench, positional=("suite",)), arguments, "bench")
    settings = settings_from(Bench, parsed)
    console, progress_console = consoles()
    from grasp_planner.bench.analysing.result_tables import success_table
    from grasp_planner.bench.running.earlier_runs import Earlier
    from grasp_planner.bench.running.engines import engine
    from grasp_planner.bench.running.suite_run import Run
    from grasp_planner.bench.suites.loading import load_suite
    from grasp_planner.cli.tables import print_table
    from grasp_planner.cli.watching import threads

    suite = load_suite(settings.suite, "pixels" if settings.pixels else "state").only(settings.models)
    out = Path("out/bench") / suite.name if settings.out is None else settings.out
    if settings.plan_only:
        for line in plan_of(suite):
            console.print(line)
        return 0
    with (
        threads(1),
        leaving_no_empty_folder(out),
        hint_when_stopped("run the same command again, and it goes on where it stopped"),
        engine(settings.engine, settings.workers, settings.address) as workers,
        progress_bars(progress_console) as bars,
    ):
        begun = Run(suite, out, Earlier(settings.reuse))
        shown: dict[str, Callable[..., None]] = {}

        def watch(stage: str, done: int, total: int, remark: str) -> None:
            if stage not in shown:
                shown[stage] = bars.task(f"{suite.name}: {stage}")
            shown[stage](done / total if total else 1.0, f"{done} of {total}  {remark}")
            # A bar shows nothing in a log until it ends, and that takes hours.
            if not progress_console.is_terminal and (done * LINES) // max(1, total) > ((done - 1) * LINES) // max(
                1, total
            ):
                print(f"{time.strftime('%H:%M:%S')}  {stage}: {done} of {total}  {remark}", file=sys.stderr, flush=True)

        begun.go(workers, watch)
        records = begun.records()
    print_table(console, success_table(records))
    console.print(f"records are in {out}; `grasp report {out}` makes a page of them")
    return 0


def plan_of(suite: Any) -> list[str]:
    """What a suite does, in words and numbers."""
    tuned = sum(1 for arm in suite.arms if arm.space)
    tries, known = suite.tuning.trials, (0, *suite.tuning.episodes)
    plans = sum(n * (known[i + 1] - known[i]) for i, n in enumerate(tries)) * tuned * len(suite.cells)
    lines = [f"{suite.name}: {suite.title}. {suite.about}."]
    lines += [f"  {cell}" for cell in suite.cells]
    lines += [f"  arms: {', '.join(arm.name for arm in suite.arms)}"]
    lines += [f"  tuning: {tries} trials on {suite.tuning.episodes} validation episodes: {plans:,} plans"]
    lines += [f"  test: {suite.episodes * len(suite.arms) * len(suite.cells):,} plans in batches of {suite.chunk}"]
    lines += [f"  one at a time: {suite.timed.episodes * len(suite.arms) * len(suite.cells):,} plans"]
    lines += [f"  budget of a plan: {suite.rollouts} horizons of model transitions for each episode"]
    return lines
