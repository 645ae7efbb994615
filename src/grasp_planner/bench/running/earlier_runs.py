"""Reuse records of earlier runs for exactly the same work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from grasp_planner.bench.record_files import read_records
from grasp_planner.bench.records import EpisodeRecord, Key, Record, SweepRecord, key_of, versions
from grasp_planner.bench.running.jobs import Job
from grasp_planner.bench.running.run_folder import read_run_file
from grasp_planner.bench.suites.suite import Suite
from grasp_planner.control.planner_files import planner_of, settings_of
from grasp_planner.io.typed_json import to_json


class Earlier:
    """The records of earlier runs, to be reused by another run.

    Suites overlap: they tune the same planner on the same episodes of the same task with the same budget. A record of
    a sweep or of an episode is reused if everything that determines its results is the same: task, horizon, model and
    its hash, arm, settings, budget, split, episodes, how the loop is closed, and, for episodes, the versions of the
    packages. The clock of a reused record names the suite that it was ``reused_from``. Timed records and records with a
    budget in seconds are not reused, because seconds are compared within one run on one machine.

    Args:
        folders: folders of runs of ``grasp bench``, finished or not.

    Raises:
        GraspPlannerError: a folder is not the folder of a run.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._known: dict[Key, tuple[SweepRecord | EpisodeRecord, Suite]] = {}
        for folder in folders:
            suite = read_run_file(folder).suite
            for record in read_records([folder]):
                if isinstance(record, (SweepRecord, EpisodeRecord)) and not record.work.seconds_per_problem:
                    self._known.setdefault(key_of(record), (record, suite))

    def records(self, job: Job) -> list[Record] | None:
        """Return the records that the job would make, or ``None`` if some of the records are not known."""
        known = [self._known.get(one) for one in job.keys()]
        found = [_reused(job, *one) for one in known if one is not None and _same(job, *one)]
        return [*found] if len(found) == len(known) else None


def _same(job: Job, record: SweepRecord | EpisodeRecord, suite: Suite) -> bool:
    settings = job.work.planner if isinstance(record, SweepRecord) else settings_of(planner_of(job.work.planner))
    wanted = replace(job.work, suite=record.work.suite, planner=to_json(settings))
    loop = job.work.mode == "open-loop" or suite.loop == job.loop
    if isinstance(record, SweepRecord):
        return loop and record.work == wanted and record.episodes == job.numbers
    return loop and record.work == wanted and record.versions == versions()


def _reused(job: Job, record: SweepRecord | EpisodeRecord, suite: Suite) -> Record:
    work = replace(record.work, suite=job.work.suite)
    return replace(record, work=work, clock=replace(record.clock, reused_from=suite.name))
