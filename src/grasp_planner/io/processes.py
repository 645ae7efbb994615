"""A pool of worker processes, which exit when the process that started them exits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from grasp_planner.core.errors import GraspPlannerError

Work = TypeVar("Work")
Result = TypeVar("Result")


class WorkersLostError(GraspPlannerError):
    """Raised when worker processes were killed more often than the pool tolerates."""


class WorkerPool:
    """Several processes on this machine that run jobs.

    When a worker is killed, another worker runs its job again. Workers ignore Ctrl-C, which the parent process handles.
    Workers exit when the parent process exits, even after ``kill -9``.

    Args:
        count: number of processes, which are started with the first job and kept until ``close``.
        retries: how often in a row workers may be lost without a finished job in between before the pool raises an
            error.
    """

    def __init__(self, count: int, retries: int = 3) -> None:
        self.count, self.retries = count, retries
        self._pool: ProcessPoolExecutor | None = None

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Run every job, and yield each job with its result as soon as the job is done.

        Args:
            do: a function that can be pickled.
            jobs: the arguments of ``do``.

        Raises:
            WorkersLostError: workers were lost ``retries`` times in a row.
            Exception: any exception that a job raises.
        """
        left = dict(enumerate(jobs))
        losses = 0
        while left:
            before = len(left)
            try:
                for number, result in self._results_until_a_loss(do, left):
                    yield left.pop(number), result
            except BrokenProcessPool as error:
                losses = losses + 1 if len(left) == before else 0
                if losses >= self.retries:
                    raise WorkersLostError(
                        f"worker processes were lost {losses} times in a row with {len(left)} jobs left, and no job "
                        "was finished in between: is there enough memory? Fewer workers need less"
                    ) from error

    def close(self) -> None:
        """End the processes now, without waiting for the jobs that they are running, and wait until they have ended."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def _results_until_a_loss(
        self, do: Callable[[Work], Result], jobs: Mapping[int, Work]
    ) -> Iterator[tuple[int, Result]]:
        pool, waiting = self._started(), list(jobs.items())[::-1]
        running: dict[Future[Result], int] = {}
        try:
            while waiting or running:
                # Two jobs per process are submitted: one runs and one is ready. On Ctrl-C, only few jobs must be
                # cancelled.
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
            # Processes are spawned, because a fork of a process with threads (torch starts some) can hang.
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=spawn, initializer=_exit_with_parent)
        return self._pool


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not available on this operating system
        return os.cpu_count() or 1


def _exit_with_parent() -> None:
    """Make a worker ignore Ctrl-C and exit when its parent process exits."""
    import multiprocessing
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
