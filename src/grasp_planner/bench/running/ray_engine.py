"""An engine that runs jobs as tasks of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from grasp_planner.core.errors import GraspPlannerError, missing_extra

Work = TypeVar("Work")
Result = TypeVar("Result")

RETRIES = 3  # of a job whose worker process was lost
ANSWER_SECONDS = 5.0  # how long a cluster may take to answer


class Ray:
    """An engine that runs jobs as tasks of a Ray cluster. Ray repeats the jobs of lost workers.

    Args:
        ray: the module ``ray``, connected to a cluster.
        most: largest number of jobs that are submitted at once.
    """

    def __init__(self, ray: Any, most: int) -> None:
        self.ray, self.most = ray, most

    def results(self, do: Callable[[Work], Result], jobs: Sequence[Work]) -> Iterator[tuple[Work, Result]]:
        """Run every job, and yield each job with its result as soon as the job is done."""
        remote = self.ray.remote(num_cpus=1, max_retries=RETRIES)(do)
        waiting, running = list(jobs)[::-1], {}
        try:
            while waiting or running:
                while waiting and len(running) < self.most:
                    job = waiting.pop()
                    running[remote.remote(job)] = job
                (done,), _ = self.ray.wait(list(running), num_returns=1)
                yield running.pop(done), self._result(done)
        finally:
            for reference in running:
                self.ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error  # the error of the job itself, as the other engines raise it
        except self.ray.exceptions.WorkerCrashedError as error:
            raise GraspPlannerError(f"a job's worker was lost {RETRIES + 1} times: is there enough memory?") from error


@contextmanager
def ray_engine(address: str | None, workers: int | None) -> Iterator[Ray]:
    """Provide an engine on a Ray cluster until the block ends.

    Args:
        address: the address of a running cluster; ``None``: start a cluster on this machine.
        workers: number of processor cores of a cluster that is started here; ``None``: all cores.

    Raises:
        MissingExtraError: Ray is not installed.
        GraspPlannerError: the cluster does not answer or cannot be joined.
    """
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray", "the engine ray") from error
    if ray.is_initialized():
        yield _engine_on(ray)
        return
    # "local", because Ray would otherwise join any cluster that happens to run on this machine.
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
        yield _engine_on(ray)
    finally:
        ray.shutdown()


def _engine_on(ray: Any) -> Ray:
    return Ray(ray, 2 * int(ray.cluster_resources().get("CPU", 1)))


def _check_answers(address: str) -> None:
    """Raise unless something listens at ``host:port``, because Ray itself would try for minutes.

    Raises:
        GraspPlannerError: nothing listens at the address.
    """
    import socket

    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # Ray resolves addresses without a port, such as "auto", at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise GraspPlannerError(
            f"no Ray cluster answers at {address!r} ({error}): `ray start --head` starts one, and says its address"
        ) from error
