"""Measure environment steps per second with and without pictures of 64 px, and the time for a million Push-T steps.

    python benchmarks/collect_rates.py [--workers 2] [--full DIR]

The table shows the steps of one process, including the scripted policy, per second of CPU time, so that other work on
the machine does not count. Each number is the best of three measurements.

Then the script collects two Push-T data sets of different sizes in `--workers` processes, with a picture every fifth
step. The line through the two durations gives the start-up cost and the time for a million steps: in wall-clock time
for this machine with its present load, and in CPU time for free cores. With `--full DIR` the script collects the
million steps into DIR instead.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data.collecting import collect, usable_cores
from grasp_planner.data.recipe import Recipe, default_steps, resolve_policy
from grasp_planner.data.rollouts import make_environment, roll
from grasp_planner.domains import ENVIRONMENTS

MILLION = 1_000_000
STEPS = 200
LIMIT_MINUTES = 30


def rate(environment: str, pixels: int | None, every: int, seconds: float) -> float:
    """Measure environment steps per CPU second of one process, as the best of three measurements."""
    recipe = Recipe(environment, "", 1, default_steps(environment), every, pixels, 0, "")
    env, policy = make_environment(recipe), resolve_policy(None, environment)[1]()
    roll(env, policy, recipe, 0)
    best, index = 0.0, 1
    for _ in range(3):
        begun, steps = time.process_time(), 0
        while time.process_time() - begun < seconds / 3:
            roll(env, policy, recipe, index)
            index, steps = index + 1, steps + recipe.steps
        best = max(best, steps / (time.process_time() - begun))
    env.close()
    return best


def collection_seconds(episodes: int, out: Path, workers: int, progress: bool = False) -> tuple[float, float]:
    """Measure wall-clock and CPU seconds to collect Push-T with a 64 px picture every fifth step."""
    begun, used = time.perf_counter(), cpu_seconds()
    collect("push_t", episodes, out, steps=STEPS, pixels=64, every=5, workers=workers, progress=progress)
    return time.perf_counter() - begun, cpu_seconds() - used


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its child processes that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--seconds", type=float, default=6.0, help="per number of the first table")
    parser.add_argument("--full", type=Path, help="collect the million steps for real, into this folder")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()

    print(f"{platform.processor() or platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}")
    print(f"{'steps per CPU second':<22}{'no pictures':>14}{'64 px, every 5th':>18}{'64 px, each':>14}")
    rates: dict[str, list[float | None]] = {}
    for name in ENVIRONMENTS:
        row: list[float | None] = []
        for pixels, every in ((None, 1), (64, 5), (64, 1)):
            try:
                row.append(rate(f"grasp_planner/{name}", pixels, every, options.seconds))
            except (GraspPlannerError, ImportError) as error:
                print(f"  {name}: {error}")
                row.append(None)
        rates[name] = row
        cells = [f"{value:,.0f}" if value else "-" for value in row]
        print(f"{name:<22}{cells[0]:>14}{cells[1]:>18}{cells[2]:>14}")

    if options.full:
        wall, cpu = collection_seconds(MILLION // STEPS, options.full, options.workers, progress=True)
        kind = "measured"
    else:
        with tempfile.TemporaryDirectory() as folder:
            small, large = 20, 120
            first = collection_seconds(small, Path(folder) / "small", options.workers)
            second = collection_seconds(large, Path(folder) / "large", options.workers)
        more = MILLION / STEPS - large
        wall, cpu = (b + (b - a) / (large - small) * more for a, b in zip(first, second))
        kind = "projected"
    free = cpu / options.workers
    print(f"\n{MILLION:,} Push-T steps, 64 px picture every fifth, {options.workers} processes ({kind}):")
    for label, seconds in (("machine as it is", wall), ("free cores", free)):
        verdict = "within" if seconds < LIMIT_MINUTES * 60 else "OVER"
        print(f"  {label:<18}{seconds / 60:6.1f} min, {verdict} the limit of {LIMIT_MINUTES} min")
    if options.json:
        result = {"steps_per_cpu_second": rates, "million_steps": {"wall_seconds": wall, "cpu_seconds": cpu}}
        options.json.write_text(json.dumps(result | {"kind": kind, "workers": options.workers}, indent=1))


if __name__ == "__main__":
    main()
