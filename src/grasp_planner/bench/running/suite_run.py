"""The run of a suite: tune, test, time, show. What is on record is not done again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from grasp_planner.bench.records import SCHEMA, Record, RecordFile, key
from grasp_planner.bench.running.earlier_runs import Earlier
from grasp_planner.bench.running.engines import Engine, Serial
from grasp_planner.bench.running.jobs import Job, Kind, check_models, model_digest, run_job
from grasp_planner.bench.suites.spaces import Settings, changed, drawn, planner_of, spaces
from grasp_planner.bench.suites.suite import Arm, Cell, Suite
from grasp_planner.core.errors import GraspPlannerError

SUITE_FILE = "suite.json"
FILES = {"sweep": "sweep", "choice": "sweep", "episode": "episodes", "timed": "timed", "shown": "shown"}


class Watch(Protocol):
    """Is told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """``done`` of ``total`` jobs of a stage are on record."""
        ...


class Run:
    """A suite in a folder: its records so far, and the jobs that are left.

    Args:
        suite: what to do.
        folder: for the records; made if it does not exist.
        earlier: other runs, whose records are taken where they are of exactly the same work.

    Raises:
        GraspPlannerError: a model of the suite is not here, or the folder holds the records of something else.
    """

    def __init__(self, suite: Suite, folder: Path, earlier: Earlier | None = None) -> None:
        self.suite, self.folder, self.earlier = suite, folder, earlier or Earlier()
        check_models(cell.model for cell in suite.cells)
        self.hashes = {cell.model: model_digest(cell.model) for cell in suite.cells}
        for arm in suite.arms:
            planner_of(drawn(self._tuned(arm).space, 0, arm.change))  # what cannot be made is said before any work
        self._claim()
        self.files = {name: RecordFile(folder / f"{name}.jsonl") for name in sorted(set(FILES.values()))}

    def go(self, engine: Engine, watch: Watch = lambda stage, done, total, remark="": None) -> None:
        """Do what is left. After a stop or a kill, the same again goes on where it was.

        Seconds are measured in this process, one plan after the other, while no worker is busy.
        """
        for number in range(len(self.suite.tuning.trials)):
            self._do(engine, f"tuning, round {number + 1}", self.sweep_jobs(number), watch)
        self.files["sweep"].append(self.choices())
        self._do(engine, "episodes", self.episode_jobs(), watch)
        self._do(Serial(), "seconds", self.timed_jobs(), watch)
        self._do(engine, "recordings", self.shown_jobs(), watch)

    def records(self) -> list[Record]:
        """All so far."""
        return [record for file in self.files.values() for record in file]

    def sweep_jobs(self, number: int) -> list[Job]:
        """The trials of a round, for every arm that is tuned in every cell."""
        tuning = self.suite.tuning
        first = tuning.episodes[number - 1] if number else 0
        fresh = tuple(range(first, tuning.episodes[number]))
        return [
            self._job("sweep", cell, arm, fresh, drawn(arm.space, trial, arm.change), (number, trial))
            for cell in self.suite.cells
            for arm in self.suite.arms
            if arm.space
            for trial in self._survivors(cell, arm, number)
        ]

    def choices(self) -> list[Record]:
        """For every arm in every cell the settings that won its sweep, and how they came to be chosen."""
        return [self._choice(cell, arm) for cell in self.suite.cells for arm in self.suite.arms]

    def episode_jobs(self) -> list[Job]:
        """The test episodes in batches."""
        count, chunk = self.suite.episodes, self.suite.chunk
        batches = [tuple(range(first, min(first + chunk, count))) for first in range(0, count, chunk)]
        return self._test_jobs("episode", batches)

    def timed_jobs(self) -> list[Job]:
        """The episodes that are planned one at a time."""
        return self._test_jobs("timed", [(number,) for number in range(self.suite.timed.episodes)])

    def shown_jobs(self) -> list[Job]:
        """The episodes that are recorded: chosen by what the main arm made of them."""
        if not self.suite.shown or self.suite.mode == "closed-loop":
            return []
        jobs = []
        for cell in self.suite.cells:
            if numbers := self._telling(cell):
                jobs += [self._job("shown", cell, arm, numbers, self._settings(cell, arm)) for arm in self.suite.arms]
        return jobs

    def _do(self, engine: Engine, stage: str, jobs: Sequence[Job], watch: Watch) -> None:
        left = [job for job in jobs if not self._done(job)]
        done = len(jobs) - len(left)
        watch(stage, done, len(jobs))
        for job, records in engine.results(run_job, left):
            self._file(job.kind).append(records)
            done += 1
            watch(stage, done, len(jobs), f"{job.arm}, H = {job.horizon}")

    def _done(self, job: Job) -> bool:
        """Whether a job is on record, here or in an earlier run."""
        file = self._file(job.kind)
        if all(file.has(one) for one in job.keys()):
            return True
        known = self.earlier.records(job)
        file.append(known or ())
        return known is not None

    def _file(self, kind: str) -> RecordFile:
        return self.files[FILES[kind]]

    def _test_jobs(self, kind: Kind, batches: Sequence[tuple[int, ...]]) -> list[Job]:
        return [
            self._job(kind, cell, arm, numbers, self._settings(cell, arm))
            for cell in self.suite.cells
            for arm in self.suite.arms
            for numbers in batches
        ]

    def _job(
        self,
        kind: Kind,
        cell: Cell,
        arm: Arm,
        numbers: tuple[int, ...],
        settings: Settings,
        tried: tuple[int, int] = (0, 0),
    ) -> Job:
        return Job(
            kind=kind,
            suite=self.suite.name,
            arm=arm.name,
            task=cell.task,
            horizon=cell.horizon,
            model=cell.model,
            model_hash=self.hashes[cell.model],
            pixels=cell.pixels,
            split="validation" if kind == "sweep" else "test",
            numbers=numbers,
            settings=settings,
            rollouts=self.suite.rollouts,
            seconds=self.suite.timed.seconds if kind == "timed" else 0.0,
            mode=self.suite.mode,
            execute=self.suite.execute,
            duration=self.suite.duration,
            tried=tried,
        )

    def _tuned(self, arm: Arm) -> Arm:
        """The arm whose sweep gives an arm its settings."""
        return next(one for one in self.suite.arms if one.name == (arm.like or arm.name))

    def _trials(self, cell: Cell, arm: Arm, number: int) -> list[tuple[int, float, int]]:
        """(failures, mean cost, trial) of those that took part in a round, over all episodes so far, the best first."""
        solved: dict[int, list[bool]] = {}
        costs: dict[int, list[float]] = {}
        for one in range(number + 1):
            for trial in self._survivors(cell, arm, one):
                record = self._swept(cell, arm, one, trial)
                solved.setdefault(trial, []).extend(record["success"])
                costs.setdefault(trial, []).extend(math.inf if c is None else c for c in record["cost"])
        latest = self._survivors(cell, arm, number)
        return sorted((solved[t].count(False), sum(costs[t]) / len(costs[t]), t) for t in latest)

    def _survivors(self, cell: Cell, arm: Arm, number: int) -> list[int]:
        count = self.suite.tuning.trials[number]
        if number == 0:
            return list(range(count))
        return sorted(trial for _, _, trial in self._trials(cell, arm, number - 1)[:count])

    def _swept(self, cell: Cell, arm: Arm, number: int, trial: int) -> Record:
        return self.files["sweep"].get(key(_place("sweep", cell, arm) | {"round": number, "trial": trial}))

    def _choice(self, cell: Cell, arm: Arm) -> Record:
        tuned = self._tuned(arm)
        failures, cost, trial = self._trials(cell, tuned, len(self.suite.tuning.trials) - 1)[0]
        chosen = drawn(tuned.space, trial, tuned.change)
        return {
            "schema": SCHEMA,
            "suite": self.suite.name,
            **_place("choice", cell, arm),
            "model_hash": self.hashes[cell.model],
            "tuned_as": tuned.name,
            "space": tuned.space,
            "trial": trial,
            "trials": list(self.suite.tuning.trials),
            "episodes": list(self.suite.tuning.episodes),
            "rollouts": self.suite.rollouts,
            "success": 1 - failures / self.suite.tuning.episodes[-1],
            "cost": cost,
            "planner": changed(chosen, arm.change),
        }

    def _settings(self, cell: Cell, arm: Arm) -> Settings:
        return self.files["sweep"].get(key(_place("choice", cell, arm)))["planner"]

    def _telling(self, cell: Cell) -> tuple[int, ...]:
        """The episodes to record: some that the main arm solved, and some that it failed.

        Of the first, those that the fewest others solved come first; of the others, those that the most others did.
        """
        rows: dict[str, dict[int, bool]] = {}
        for record in self.files["episodes"].of("episode"):
            if (record["task"], record["horizon"], record["model"]) == (cell.task, cell.horizon, cell.model):
                rows.setdefault(record["arm"], {})[record["episode"]] = record["success"]
        main = rows[main_arm([arm.name for arm in self.suite.arms])]
        most = {number: sum(row[number] for row in rows.values()) for number in main}
        solved = sorted((most[number], number) for number, won in main.items() if won)
        failed = sorted((-most[number], number) for number, won in main.items() if not won)
        return tuple(sorted(number for _, number in solved[: self.suite.shown] + failed[: self.suite.shown]))

    def _claim(self) -> None:
        """Write down what is run in this folder, or check that it is what was."""
        wanted: dict[str, Any] = {
            "schema": SCHEMA,
            "suite": self.suite.described(),
            "digest": self.suite.digest(),
            "models": self.hashes,
            "spaces": {name: spaces()[name] for name in sorted({arm.space for arm in self.suite.arms if arm.space})},
        }
        path = self.folder / SUITE_FILE
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            for name in ("digest", "models", "spaces"):
                if found.get(name) != wanted[name]:
                    what = {"digest": "another suite", "models": "other models", "spaces": "other spaces of settings"}
                    raise GraspPlannerError(
                        f"{self.folder} holds records of {found['suite']['name']!r} with {what[name]} than are asked "
                        "for now: give another folder with --out"
                    )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        part.replace(path)


def _place(kind: Kind | Literal["choice"], cell: Cell, arm: Arm) -> Record:
    return {"kind": kind, "task": cell.task, "horizon": cell.horizon, "model": cell.model, "arm": arm.name}


def main_arm(names: Sequence[str]) -> str:
    """The arm that a suite is about: GRASP, where there is one."""
    return "GRASP" if "GRASP" in names else names[0]
