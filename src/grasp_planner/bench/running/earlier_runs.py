"""Reuse: what another run has measured already is taken from its records, where it is exactly the same work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grasp_planner.bench.records import CLOCK, Key, Record, key, read_records, versions
from grasp_planner.bench.running.jobs import Job, whole
from grasp_planner.bench.suites.spaces import planner_of
from grasp_planner.core.errors import GraspPlannerError

REUSED = ("sweep", "episode")  # not seconds: those are compared within one run on one machine


class Earlier:
    """The records of earlier runs, for jobs of another.

    Suites overlap: the same planner is tuned on the same episodes of the same task with the same budget. Such a record
    is taken over when everything that decides it is the same: task, horizon, model and its hash, arm, settings, budget,
    split, episodes, how the loop is closed, and, for episodes, versions. Its ``clock`` then says which suite it is
    ``from``.

    Args:
        folders: of runs of ``grasp bench``, finished or not.

    Raises:
        GraspPlannerError: a folder holds no run.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._known: dict[Key, tuple[Record, Record]] = {}
        for folder in folders:
            suite = _suite(folder)
            for record in read_records([folder]):
                if record["kind"] in REUSED:
                    self._known.setdefault(key(record), (record, suite))

    def records(self, job: Job) -> list[Record] | None:
        """The records that the job would make, or ``None`` unless all of them are known."""
        if job.kind not in REUSED:
            return None
        found = [self._known.get(one) for one in job.keys()]
        taken = [_taken(job, *one) for one in found if one is not None and _same(job, *one)]
        return taken if len(taken) == len(found) else None


def _same(job: Job, record: Record, suite: Record) -> bool:
    head = {name: value for name, value in job.head().items() if name not in ("suite", "planner")}
    planner: dict[str, Any] = dict(job.settings) if job.kind == "sweep" else whole(planner_of(job.settings))
    asked = job.kind != "sweep" or record["episodes"] == list(job.numbers)
    loop = job.mode == "open-loop" or (suite["execute"], suite["duration"]) == (job.execute, job.duration)
    made_with = record.get("versions", versions()) == versions()  # a sweep does not say
    known = head.items() <= record.items() and record["planner"] == json.loads(json.dumps(planner))
    return known and asked and loop and made_with


def _taken(job: Job, record: Record, suite: Record) -> Record:
    return record | {"suite": job.suite, CLOCK: record[CLOCK] | {"from": suite["name"]}}


def _suite(folder: Path) -> Record:
    try:
        return json.loads((folder / "suite.json").read_text(encoding="utf-8"))["suite"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise GraspPlannerError(f"needed the folder of a run of `grasp bench`, got {folder}: {error}") from error
