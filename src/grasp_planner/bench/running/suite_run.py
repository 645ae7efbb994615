"""The run of a suite: tune, test, time and record. Jobs whose records exist are not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from grasp_planner.bench.machine_load import load_warning
from grasp_planner.bench.record_files import RecordFile
from grasp_planner.bench.records import ChoiceRecord, EpisodeRecord, KindName, Record, key
from grasp_planner.bench.running.earlier_runs import Earlier
from grasp_planner.bench.running.engines import Engine, Serial
from grasp_planner.bench.running.job_records import run_job
from grasp_planner.bench.running.jobs import Job
from grasp_planner.bench.running.model_hash import check_models, model_hash
from grasp_planner.bench.running.run_folder import RunFile, claim_folder
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.running.tuning import choice, survivors
from grasp_planner.bench.suites.arm_settings import arm_settings
from grasp_planner.bench.suites.suite import Arm, Cell, Suite
from grasp_planner.bench.timed_records import TimedRecord, TimedSweepRecord
from grasp_planner.bench.work import Work
from grasp_planner.control.planner_files import Settings, planner_of

FILES: dict[KindName, str] = {
    "sweep": "sweep",
    "choice": "sweep",
    "episode": "episodes",
    "timed": "timed",
    "shown": "shown",
    "timed_sweep": "sweep",
}
"""The name of the file, without ``.jsonl``, for each kind of record."""

Watch = Callable[[str, int, int, str], None]
"""A function of a stage's name, the number of its finished jobs, the number of its jobs, and a remark."""


class Run:
    """The run of a suite in a folder: the records so far, and the remaining jobs.

    Args:
        suite: the suite to run.
        folder: folder for the records, which is created if it does not exist.
        earlier: other runs, whose records are reused for exactly the same work.

    Raises:
        GraspPlannerError: a model of the suite is missing, or the folder holds records of another suite or model.
    """

    def __init__(self, suite: Suite, folder: Path, earlier: Earlier | None = None) -> None:
        self.suite, self.folder, self.earlier = suite, folder, earlier or Earlier()
        check_models(cell.model for cell in suite.cells)
        for cell in suite.cells:
            model_for(cell.problem, cell.model)
        self.hashes = {cell.model: model_hash(cell.model) for cell in suite.cells}
        for arm in suite.arms:  # raises on invalid settings before any work begins
            planner_of(arm_settings(arm, suite.source_of(arm), 0))
        claim_folder(folder, RunFile.of(suite, self.hashes))
        self.files = {name: RecordFile(folder / f"{name}.jsonl") for name in sorted(set(FILES.values()))}

    def go(
        self,
        engine: Engine,
        watch: Watch = lambda stage, done, total, remark: None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Run all remaining jobs. After Ctrl-C or a kill, the same call continues the run.

        Timed episodes are planned in this process, one after the other, while no worker runs, unless the suite allows
        that they are planned side by side. So are the validation episodes of a tuning with a budget in seconds.

        Args:
            engine: runs the jobs that are not timed.
            watch: called with the progress of every stage.
            warn: called with a text, once per stage, if other processes load the machine while plans are timed.
        """
        timer = engine if self.suite.timed.side_by_side else Serial()
        tuner = timer if self.suite.tuning.seconds else engine
        for number in range(len(self.suite.tuning.trials)):
            self._run_jobs(tuner, f"tuning, round {number + 1}", self.sweep_jobs(number), watch, warn)
        self.files["sweep"].append(self.choices())
        self._run_jobs(engine, "episodes", self.episode_jobs(), watch, warn)
        self._run_jobs(timer, "seconds", self.timed_jobs(), watch, warn)
        self._run_jobs(engine, "recordings", self.shown_jobs(), watch, warn)

    def records(self) -> list[Record]:
        """Return all records so far."""
        return [record for file in self.files.values() for record in file]

    def sweep_jobs(self, number: int) -> list[Job]:
        """Return the trials of a round, for every tuned arm in every cell."""
        tuning = self.suite.tuning
        first = tuning.episodes[number - 1] if number else 0
        fresh = tuple(range(first, tuning.episodes[number]))
        kind = "timed_sweep" if tuning.seconds else "sweep"
        return [
            self._job(kind, cell, arm, fresh, arm_settings(arm, arm, trial), tuning.seconds, number, trial)
            for cell in self.suite.cells
            for arm in self.suite.arms
            if arm.space
            for trial in survivors(self.files["sweep"], self._swept(cell, arm), tuning, number)
        ]

    def choices(self) -> list[Record]:
        """Return the chosen or fixed settings of every arm in every cell."""
        sweep, suite = self.files["sweep"], self.suite
        return [
            choice(sweep, self._work(cell, arm), self._swept(cell, arm), suite.tuning, arm, suite.source_of(arm))
            for cell in suite.cells
            for arm in suite.arms
        ]

    def episode_jobs(self) -> list[Job]:
        """Return the test episodes in batches."""
        count, chunk = self.suite.episodes, self.suite.chunk
        batches = [tuple(range(first, min(first + chunk, count))) for first in range(0, count, chunk)]
        return [
            self._job("episode", cell, arm, numbers, self._settings(cell, arm))
            for cell in self.suite.cells
            for arm in self.suite.arms
            for numbers in batches
        ]

    def timed_jobs(self) -> list[Job]:
        """Return the timed episodes. For each batch and limit, all planners follow one another.

        A slow change of the machine's speed then affects all planners alike.
        """
        timed, count = self.suite.timed, self.suite.timed.episodes
        return [
            self._job("timed", cell, arm, numbers, self._settings(cell, arm), seconds)
            for cell in self.suite.cells
            for first in range(0, count, timed.batch)
            for numbers in [tuple(range(first, min(first + timed.batch, count)))]
            for seconds in timed.seconds or (0.0,)
            for arm in self.suite.arms
        ]

    def shown_jobs(self) -> list[Job]:
        """Return the episodes that are recorded for the viewer of the report."""
        if not self.suite.shown or self.suite.mode == "closed-loop":
            return []
        jobs = []
        for cell in self.suite.cells:
            if numbers := self._shown_episodes(cell):
                jobs += [self._job("shown", cell, arm, numbers, self._settings(cell, arm)) for arm in self.suite.arms]
        return jobs

    def _run_jobs(
        self, engine: Engine, stage: str, jobs: Sequence[Job], watch: Watch, warn: Callable[[str], None]
    ) -> None:
        left = [job for job in jobs if not self._done(job)]
        done, warned = len(jobs) - len(left), False
        watch(stage, done, len(jobs), "")
        for job, records in engine.results(run_job, left):
            self.files[FILES[job.kind]].append(records)
            done += 1
            watch(stage, done, len(jobs), f"{job.work.arm}, H = {job.work.horizon}")
            timed = [record for record in records if isinstance(record, (TimedRecord, TimedSweepRecord))]
            if not warned and (text := next(filter(None, (load_warning(one.clock.others) for one in timed)), "")):
                warned = True
                warn(f"{stage}: {text}")

    def _done(self, job: Job) -> bool:
        """Return whether the records of a job exist. Records of an earlier run are copied into this run."""
        file = self.files[FILES[job.kind]]
        if all(file.has(one) for one in job.keys()):
            return True
        known = self.earlier.records(job)
        file.append(known or ())
        return known is not None

    def _job(
        self,
        kind: Literal["sweep", "episode", "timed", "shown", "timed_sweep"],
        cell: Cell,
        arm: Arm,
        numbers: tuple[int, ...],
        settings: Settings,
        seconds: float = 0.0,
        round: int = 0,
        trial: int = 0,
    ) -> Job:
        return Job(
            kind=kind,
            work=self._work(cell, arm, settings, "validation" if kind.endswith("sweep") else "test"),
            numbers=numbers,
            pixels=cell.pixels,
            seconds=seconds,
            loop=self.suite.loop,
            round=round,
            trial=trial,
            batch=self.suite.timed.batch,
        )

    def _work(self, cell: Cell, arm: Arm, settings: Settings | None = None, split: str = "validation") -> Work:
        return Work(
            suite=self.suite.name,
            task=cell.task,
            horizon=cell.horizon,
            model=cell.model,
            model_hash=self.hashes[cell.model],
            arm=arm.name,
            mode=self.suite.mode,
            split=split,
            rollouts=self.suite.rollouts,
            planner=settings or {},
            seconds_per_problem=self.suite.seconds_per_problem,
        )

    def _swept(self, cell: Cell, arm: Arm) -> list[Work]:
        """Return the work of an arm in the cells of the sweep that chooses its settings in a cell."""
        cells = self.suite.cells if self.suite.tuning.together else (cell,)
        return [self._work(one, arm) for one in cells]

    def _settings(self, cell: Cell, arm: Arm) -> Settings:
        return self.files["sweep"].get(ChoiceRecord, key("choice", self._work(cell, arm))).work.planner

    def _shown_episodes(self, cell: Cell) -> tuple[int, ...]:
        """Return some episodes that the main arm solved, and some that it failed.

        Among the solved episodes, choose the episodes that the fewest arms solved. Among the failed episodes, choose
        the episodes that the most arms solved.
        """
        rows: dict[str, dict[int, bool]] = {}
        for record in self.files["episodes"].of(EpisodeRecord):
            if record.work.cell == (cell.task, cell.horizon, cell.model):
                rows.setdefault(record.work.arm, {})[record.episode] = record.success
        main = rows[self.suite.main_arm]
        solvers = {number: sum(row[number] for row in rows.values()) for number in main}
        solved = sorted((solvers[number], number) for number, won in main.items() if won)
        failed = sorted((-solvers[number], number) for number, won in main.items() if not won)
        return tuple(sorted(number for _, number in solved[: self.suite.shown] + failed[: self.suite.shown]))
