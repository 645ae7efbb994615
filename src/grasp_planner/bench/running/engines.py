"""Engines: who does the jobs. In this process, in several, or on a Ray cluster; the results are the same."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from grasp_planner.core.errors import GraspPlannerError, missing_extra, unknown_name

Work = TypeVar("Work")
Result = TypeVar("Result")

ENGINES = ("processes", "serial", "ray")
RETRIES = 3  # of a job whose worker was lost
SECONDS_TO_ANSWER = 5.0  # that a cluster is given


class Engine(Protocol):
    """Does jobs, each once as far as anyone can see, in any order."""

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Every job with its result, as they are done. What a job raises is raised here."""
        ...


@contextmanager
def engine(name: str, workers: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """An engine that lives as long as the block.

    Args:
        name: one of ``ENGINES``.
        workers: processes; ``None``: one a core. Ray takes what its cluster has.
        address: of a running Ray cluster; ``None``: a local one of its own.

    Raises:
        GraspPlannerError: no such engine, or an argument that it does not take.
        MissingExtraError: Ray is not installed.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if address is not None and name != "ray":
        raise GraspPlannerError(f"--address is that of a Ray cluster, for --engine ray; the engine is {name}")
    if workers is not None and workers < 1:
        raise GraspPlannerError(f"needed at least 1 worker, got {workers}")
    count = workers or os.cpu_count() or 1
    if name == "ray":
        with _ray(address, workers) as started:
            yield started
    elif name == "serial" or count == 1:
        yield Serial()
    else:
        processes = Processes(count)
        try:
            yield processes
        finally:
            processes.close()


class Serial:
    """One job after the other, in this process."""

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Every job with its result, in order."""
        for job in jobs:
            yield job, do(job)


class Processes:
    """Several processes on this machine, one thread each. When one is killed, its job is done again by another.

    Args:
        count: of processes. They are started when there is work and kept until ``close``.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Every job with its result, as they are done."""
        left = dict(enumerate(jobs))
        losses = 0
        while left:
            before = len(left)
            try:
                for number, result in self._round(do, left):
                    yield left.pop(number), result
            except BrokenProcessPool as error:
                losses = losses + 1 if len(left) == before else 0
                if losses >= RETRIES:
                    raise GraspPlannerError(
                        f"workers were lost {losses} times in a row with {len(left)} jobs left and none of them done: "
                        "is there enough memory? Fewer --workers need less"
                    ) from error

    def close(self) -> None:
        """End the processes now: what they are still at is not wanted any more."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        pool.shutdown(wait=True)

    def _round(self, do: Callable[[Work], Result], jobs: Mapping[int, Work]) -> Iterator[tuple[int, Result]]:
        """As many jobs as can be done before a worker is lost, if one is."""
        pool, waiting = self._started(), list(jobs.items())[::-1]
        running: dict[Future[Result], int] = {}
        try:
            while waiting or running:
                # No more than can be done at once, and one each to be ready: a stop then has little to wait for.
                while waiting and len(running) < 2 * self.count:
                    number, job = waiting.pop()
                    running[pool.submit(do, job)] = number
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BaseException:
            self.close()
            raise

    def _started(self) -> ProcessPoolExecutor:
        import multiprocessing

        if self._pool is None:
            # Spawned, not forked: a fork of a process that has threads, as torch's may, can hang.
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=spawn, initializer=_leave_with_parent)
        return self._pool


def _leave_with_parent() -> None:
    """Let a worker end when the process that started it does, even by kill -9: nobody else would end it."""
    import multiprocessing
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Ray:
    """Tasks on a Ray cluster, which does those of lost workers again.

    Args:
        ray: the module, connected.
        most: jobs under way at once.
    """

    def __init__(self, ray: Any, most: int) -> None:
        self.ray, self.most = ray, most

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Every job with its result, as they are done."""
        remote = self.ray.remote(num_cpus=1, max_retries=RETRIES)(do)
        waiting, running = list(jobs)[::-1], {}
        try:
            while waiting or running:
                while waiting and len(running) < self.most:
                    job = waiting.pop()
                    running[remote.remote(job)] = job
                (done,), _ = self.ray.wait(list(running), num_returns=1)
                yield running.pop(done), self._got(done)
        finally:
            for reference in running:
                self.ray.cancel(reference, force=True)

    def _got(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error  # what the job raised, as it would be raised here
        except self.ray.exceptions.WorkerCrashedError as error:
            raise GraspPlannerError(f"a job's worker was lost {RETRIES + 1} times: is there enough memory?") from error


@contextmanager
def _ray(address: str | None, workers: int | None) -> Iterator[Ray]:
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray", "the engine ray") from error
    if ray.is_initialized():
        yield Ray(ray, 2 * int(ray.cluster_resources().get("CPU", 1)))
        return
    # "local", since otherwise a cluster that happens to run here would be joined.
    options: dict[str, Any] = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    if address is not None:
        _check_answers(address)
        options = {"address": address}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except ConnectionError as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise GraspPlannerError(
            f"the Ray cluster at {address!r} could not be joined: {reason}. Is it of the same version of Ray, and does "
            "this machine have its authentication token?"
        ) from error
    try:
        yield Ray(ray, 2 * int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise unless something listens at ``host:port``; Ray itself would try for minutes.

    Raises:
        GraspPlannerError: nobody answers.
    """
    import socket

    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto" and the like: Ray knows at once whether there is one
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise GraspPlannerError(
            f"no Ray cluster answers at {address!r} ({error}): `ray start --head` starts one, and says its address"
        ) from error
