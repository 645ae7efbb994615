"""Engines run the jobs of a suite: in this process, in several processes, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from grasp_planner.bench.running.ray_engine import ray_engine
from grasp_planner.core.errors import GraspPlannerError, known_name
from grasp_planner.io.processes import WorkerPool, usable_cores

Work = TypeVar("Work")
Result = TypeVar("Result")

ENGINES = ("processes", "serial", "ray")


class Engine(Protocol):
    """The interface of engines. An engine runs jobs in any order, and the results do not depend on the engine."""

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Run every job, and yield each job with its result as soon as the job is done. Errors of jobs are raised."""
        ...


@contextmanager
def engine(name: str, workers: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """Provide an engine until the block ends.

    Args:
        name: one of ``ENGINES``.
        workers: number of processes; ``None``: one per core. Ray uses the whole cluster.
        address: the address of a running Ray cluster; ``None``: Ray starts a cluster on this machine.

    Raises:
        GraspPlannerError: there is no engine of that name, or the engine does not take an argument that was given.
        MissingExtraError: Ray is not installed.
    """
    name = known_name("engine", name, ENGINES)
    if address is not None and name != "ray":
        raise GraspPlannerError(f"--address is the address of a Ray cluster, so it needs --engine ray, got {name}")
    if workers is not None and workers < 1:
        raise GraspPlannerError(f"needed at least 1 worker, got {workers}")
    count = workers or usable_cores()
    if name == "ray":
        with ray_engine(address, workers) as started:
            yield started
    elif name == "serial" or count == 1:
        yield Serial()
    else:
        pool = WorkerPool(count)
        try:
            yield pool
        finally:
            pool.close()


class Serial:
    """An engine that runs one job after another in this process."""

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Yield every job with its result, in the order of the jobs."""
        for job in jobs:
            yield job, do(job)
