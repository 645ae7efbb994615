"""Worker processes: every job gives one result, lost workers are replaced, and no worker outlives its pool."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from failing_jobs import always_die, die_once, fault
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.processes import WorkerPool, WorkersLostError, usable_cores


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return 0


def test_every_job_is_done_once_by_several_processes() -> None:
    pool = WorkerPool(2)
    try:
        found = dict(pool.results(square, list(range(7))))
        assert {number: value for number, (value, _) in found.items()} == {i: i**2 for i in range(7)}
        assert os.getpid() not in {pid for _, pid in found.values()}
        again = dict(pool.results(square, [3]))  # the same processes
        assert again[3][1] in {pid for _, pid in found.values()}
    finally:
        pool.close()
    assert list(pool.results(square, [])) == []


@pytest.mark.parametrize("retries", [2, 3])
def test_a_lost_worker_is_replaced_up_to_the_number_of_retries(tmp_path: Path, retries: int) -> None:
    pool = WorkerPool(2, retries=retries)
    jobs = [str(tmp_path / "one")] * 3
    try:
        assert [job for job, pid in pool.results(die_once, jobs) if pid] == jobs
        with pytest.raises(WorkersLostError, match=f"{retries} times in a row with 1 jobs left"):
            list(pool.results(always_die, [1]))
    finally:
        pool.close()


def test_errors_of_jobs_are_raised_and_closing_does_not_wait() -> None:
    pool = WorkerPool(2)
    with pytest.raises(GraspPlannerError, match="job 1"):
        list(pool.results(fault, [1]))
    waiting = pool.results(sleep, [0.0, 60.0, 60.0])
    next(waiting)
    before = time.monotonic()
    pool.close()
    assert time.monotonic() - before < 20


def test_usable_cores() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
