"""Compare the planners of this package with planners of other libraries: same model, same problems, same seconds.

    python benchmarks/other_libraries.py --out out/other_libraries.jsonl
    python benchmarks/other_libraries.py --table out/other_libraries.jsonl

The planners plan test episodes of Push-T in the model `pusht-state`, and their plans are executed in the simulator.
Every planner of another library is measured with the settings of its documentation, and with the best settings of
``--trials`` trials on validation episodes. All planners plan one after the other on each problem, in one process and on
one thread. The first command writes one JSON line for each trial and each plan, and prints the table as Markdown. The
second command prints the table again. docs/comparison.md says how to install the other libraries.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from other_planners import MODULES, RIVALS, Rival, Search, drawn, needed
from torch import Tensor

from grasp_planner import CEM, MPPI, Budget, GraspPlannerError, Planner, Problem, WorldModel, load_world_model
from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.machine_load import Load, load_warning
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import decoded, executable
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.suites.settings import settings_of, settings_text
from grasp_planner.bench.tasks import Episode, Task, digest, episodes, task
from grasp_planner.core.plans import score
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.loop import run

TASK, MODEL = "push_t/dset/v2", "pusht-state"
OWN = "grasp-planner"
LIBRARIES = (OWN, *MODULES)
# CEM and MPPI have the settings that 40 trials on validation episodes chose for the suite push-t-long.
OWN_PLANNERS: dict[str, Planner] = {
    "recommended": recommended(),
    "CEM": CEM(samples=32, elites=3, std=0.829, min_std=0.2, momentum=0.0),
    "MPPI": MPPI(samples=32, std=0.502, min_std=0.05, temperature=0.0197, refit_std=False),
}
WARM_UP = 0.5  # s
ONE, BATCH = "one at a time", "batch"
NAMES = ("library", "planner", "origin")  # the fields of a record that name an arm

Row = dict[str, Any]
Write = Callable[[Row], None]


class Found(NamedTuple):
    """Plans (b, t, a) within the bounds, and what they took per problem."""

    actions: Tensor
    transitions: int
    iterations: int


@dataclass(frozen=True)
class Arm:
    """A planner with its settings.

    Attributes:
        library: name of the library.
        planner: name of the planner.
        origin: where the settings come from: "fixed", "documented" or "tuned".
        settings: the settings as JSON values.
        batches: whether it plans several problems at once.
        plan: function of problems, seconds for all of them, and a seed for each problem.
    """

    library: str
    planner: str
    origin: str
    settings: Mapping[str, Any]
    batches: bool
    plan: Callable[[Problem, float, Sequence[int]], Found]

    @property
    def name(self) -> Row:
        """The fields of a record that name the arm."""
        return {name: getattr(self, name) for name in NAMES}


def own_arm(name: str, planner: Planner) -> Arm:
    """Return an arm of this package."""

    def plan(problem: Problem, seconds: float, seeds: Sequence[int]) -> Found:
        found = run(problem, planner, Budget(seconds=seconds), seeds=seeds)
        return Found(found.actions, found.transitions, found.steps)

    return Arm(OWN, name, "fixed", settings_of(planner), True, plan)


def rival_arm(rival: Rival, origin: str, settings: Mapping[str, Any]) -> Arm:
    """Return an arm of another library."""

    def plan(problem: Problem, seconds: float, seeds: Sequence[int]) -> Found:
        with planning_mode(problem.states.device, problem.dynamics, problem.objective):
            search = Search(problem, seconds)
            actions = rival.plan(search, seeds[0], **settings)
            return Found(problem.clamp(actions), search.transitions, search.iterations)

    return Arm(rival.library, rival.planner, origin, settings, rival.batches, plan)


class Testbed:
    """A list of episodes: their problems, planned by an arm and executed in the simulator."""

    def __init__(self, chosen: Task, model: WorldModel, drawn_episodes: Sequence[Episode]) -> None:
        self.task, self.model, self.episodes = chosen, model, list(drawn_episodes)
        self.env = chosen.make()
        self.problems = problem_of(chosen, model, self.episodes)
        self.singles = [problem_of(chosen, model, [episode]) for episode in self.episodes]

    def one(self, arm: Arm, number: int, seconds: float) -> Row:
        """Plan one episode, and return its record."""
        (row,) = self._measured(arm, self.singles[number], [self.episodes[number]], seconds)
        return row

    def batch(self, arm: Arm, seconds: float) -> list[Row]:
        """Plan all episodes at once, with as many seconds for each episode, and return their records."""
        return self._measured(arm, self.problems, self.episodes, seconds * len(self.episodes))

    def _measured(self, arm: Arm, problem: Problem, planned: list[Episode], seconds: float) -> list[Row]:
        started, before = time.perf_counter(), time.process_time()
        found = arm.plan(problem, seconds, [episode.seed for episode in planned])
        took, processor = time.perf_counter() - started, time.process_time() - before
        scored = score(problem, found.actions)
        last = decoded(self.model, scored.states[:, -1])
        assert last is not None, "the model does not decode states"
        reached = self.task.success(last, np.stack([episode.goal for episode in planned]))
        return [
            {
                **arm.name,
                "episode": episode.index,
                "success": execute(self.task, episode, executable(self.model, actions), self.env).success_end,
                "success_model": bool(reached[i]),
                "cost": float(scored.cost[i]),
                "transitions": found.transitions,
                "iterations": found.iterations,
                "seconds": took / len(planned),
                "processor_seconds": processor / len(planned),
            }
            for i, (episode, actions) in enumerate(zip(planned, found.actions, strict=True))
        ]


def quality(rows: Sequence[Row]) -> tuple[int, float]:
    """Return what tuning maximises: the number of successes and, if it is equal, minus the median cost."""
    return sum(row["success"] for row in rows), -statistics.median(row["cost"] for row in rows)


def tuned(rival: Rival, testbed: Testbed, trials: int, seconds: float, write: Write) -> dict[str, Any]:
    """Return the settings that plan the validation episodes best, one at a time."""
    scores: list[tuple[tuple[int, float], dict[str, Any]]] = []
    for trial in range(trials):
        settings = drawn(rival, trial)
        arm = rival_arm(rival, "trial", settings)
        rows = [testbed.one(arm, number, seconds) for number in range(len(testbed.episodes))]
        successes, cost = quality(rows)
        scores.append(((successes, cost), settings))
        record = {"trial": trial, "settings": settings, "episodes": len(rows), "successes": successes}
        write({"kind": "trial", **arm.name, **record, "median_cost": -cost})
    return max(scores, key=lambda one: one[0])[1]


def compared(arms: Sequence[Arm], testbed: Testbed, seconds: float) -> Iterator[Row]:
    """Plan every problem with every arm, one at a time and then as a batch, and yield the records."""
    for number in range(len(testbed.episodes)):
        for arm in arms:
            yield {"kind": "plan", "mode": ONE, **testbed.one(arm, number, seconds)}
    for arm in arms:
        if arm.batches:
            yield from ({"kind": "plan", "mode": BATCH, **row} for row in testbed.batch(arm, seconds))


def table(records: Iterable[Row]) -> str:
    """Return the results as Markdown: the conditions, a row for each arm, and the settings of the arms."""
    records = list(records)
    columns = ("success", "transitions", "seconds")
    heads = ("library", "planner", "settings", *(f"{name}, {mode}" for mode in (ONE, BATCH) for name in columns))
    lines = [*_conditions(records), "", _line(heads), "|---|---|---|" + "---:|" * (2 * len(columns))]
    arms = [record for record in records if record["kind"] == "arm"]
    for arm in arms:
        plans = [row for row in records if row["kind"] == "plan" and all(row[name] == arm[name] for name in NAMES)]
        cells = [_cells([row for row in plans if row["mode"] == mode]) for mode in (ONE, BATCH)]
        lines.append(_line([*(arm[name] for name in NAMES), *cells[0], *cells[1]]))
    lines += ["", _line(("library", "settings", "values")), "|---|---|---|"]
    for arm in arms:
        values = settings_text({"name": arm["planner"], **arm["settings"]})
        lines.append(_line((arm["library"], arm["origin"], values)))
    return "\n".join(lines)


def _conditions(records: Sequence[Row]) -> list[str]:
    lines = [_line(("condition", "value")), "|---|---|"]
    for row in records:
        if row["kind"] == "run":
            names = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
            problems = f"{row['problems']} test episodes of `{row['task']}`, planned in `{row['model']}`"
            trials = f"{row['trials']} trials on {row['validation']} validation episodes for each planner"
            lines += [
                _line(("problems", f"{problems}; H = {row['horizon']} environment steps")),
                _line(("budget", f"{row['seconds']} s for each problem, on {row['threads']} thread")),
                _line(("tuning of other libraries", trials)),
                _line(("versions", names)),
                _line(("processor", row["processor"])),
            ]
        if row["kind"] == "load" and row["others"] is not None:
            lines.append(_line(("cores that other processes kept busy", f"{row['others']:.2f}")))
    return lines


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["-"] * 3
    means = {name: statistics.fmean(row[name] for row in rows) for name in ("transitions", "seconds")}
    share = Share(sum(row["success"] for row in rows), len(rows))
    return [str(share), f"{means['transitions']:.0f}", f"{means['seconds']:.2f}"]


def processor_name() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Return the versions of the libraries, of torch and of Python."""
    return {name: version(name) for name in (*libraries, "torch", "numpy")} | {"python": platform.python_version()}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=16, help="test episodes")
    parser.add_argument("--horizon", type=int, default=50, help="environment steps, a multiple of 5")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each problem, on one thread")
    parser.add_argument("--trials", type=int, default=6, help="settings that are tried for each other planner")
    parser.add_argument("--validation", type=int, default=6, help="validation episodes of each trial")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--out", type=Path, default=Path("out/other_libraries.jsonl"))
    parser.add_argument("--table", type=Path, help="only print the table of this file of an earlier run")
    options = parser.parse_args(arguments)
    if options.table is None and options.out.exists():
        parser.error(f"{options.out} exists: pass another --out, or --table to print its table")
    return options


def measure(options: argparse.Namespace, write: Write) -> None:
    """Tune the planners of other libraries, then plan the test episodes with all planners."""
    rivals = [rival for rival in RIVALS if rival.library in options.libraries]
    own = [own_arm(*one) for one in OWN_PLANNERS.items()] if OWN in options.libraries else []
    chosen, model = task(TASK, options.horizon), load_world_model(MODEL)
    validation = Testbed(chosen, model, episodes(chosen, "validation", options.validation))
    test = Testbed(chosen, model, episodes(chosen, "test", options.problems))
    plans = options.problems * sum(1 + arm.batches for arm in own)
    plans += options.problems * sum(2 + 2 * rival.batches for rival in rivals)
    plans += options.trials * options.validation * len(rivals)
    print(f"at most {plans * options.seconds / 60:.1f} minutes of planning", flush=True)
    write(
        {
            "kind": "run",
            "task": chosen.name,
            "model": MODEL,
            "episodes_digest": digest(test.episodes),
            **{name: getattr(options, name) for name in ("problems", "horizon", "seconds", "trials", "validation")},
            "threads": torch.get_num_threads(),
            "processor": processor_name(),
            "versions": versions(options.libraries),
        }
    )
    load = Load()
    arms = list(own)
    for rival in rivals:
        documented = rival_arm(rival, "documented", drawn(rival, 0))
        validation.one(documented, 0, WARM_UP)
        best = tuned(rival, validation, options.trials, options.seconds, write)
        arms += [documented, rival_arm(rival, "tuned", best)]
    for arm in arms:
        validation.one(arm, 0, WARM_UP)
        write({"kind": "arm", **arm.name, "settings": arm.settings})
    for row in compared(arms, test, options.seconds):
        write(row)
    others = load.others()
    write({"kind": "load", "others": others})
    print(load_warning(others))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or read an earlier run, and print the table."""
    options = parsed(arguments)
    if options.table is None:
        torch.set_num_threads(1)
        for library in options.libraries:
            if library != OWN:
                needed(library)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("x", encoding="utf-8") as file:

            def write(record: Row) -> None:
                file.write(json.dumps(record) + "\n")
                file.flush()
                if record["kind"] in ("run", "trial", "arm"):
                    print(json.dumps(record), flush=True)

            measure(options, write)
    lines = (options.table or options.out).read_text(encoding="utf-8").splitlines()
    print(table(json.loads(line) for line in lines))


if __name__ == "__main__":
    try:
        main()
    except GraspPlannerError as error:
        raise SystemExit(f"error: {error}") from error
