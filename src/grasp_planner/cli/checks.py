"""Checks of settings before any work begins, and a task from any spelling of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grasp_planner.core.errors import GraspPlannerError, unknown_name

if TYPE_CHECKING:
    from grasp_planner.bench.tasks import Task


def task_called(name: str, horizon: int | None) -> Task:
    """Return a task from any unambiguous spelling: ``push-t`` and ``push_t/dset`` are ``push_t/dset/v1``.

    A name without a goal source means the goal source ``dset``, whose goals are reachable.

    Args:
        name: the environment, with or without goal source and version.
        horizon: environment steps from start to goal; ``None``: the task's own horizon.

    Raises:
        GraspPlannerError: there is no task of this name, or the horizon is not positive.
    """
    from grasp_planner.bench.tasks import TASKS, task

    spelt = {}
    for full in TASKS:
        env, source, version = full.split("/")
        spelt |= {_plain(full): full, _plain(f"{env}/{source}"): full}
        if source == "dset":
            spelt |= {_plain(env): full, _plain(f"{env}/{version}"): full}
    if _plain(name) not in spelt:
        raise unknown_name("task", name, [full.rpartition("/")[0] for full in TASKS])
    return task(spelt[_plain(name)], horizon)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").strip("/")


def check_device(name: str) -> None:
    """Raise unless torch can put a tensor on the device.

    Raises:
        GraspPlannerError: this machine has no device of that name.
    """
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if name.split(":")[0] == "cuda" and not torch.cuda.is_available():
            reason = f"PyTorch finds no CUDA GPU on this machine: {reason}"
        usable = (
            ["cpu"]
            + [f"cuda:{number}" for number in range(torch.cuda.device_count())]
            + ["mps"] * torch.backends.mps.is_available()
        )
        raise GraspPlannerError(f"no device {name!r} here ({reason}): give --device {' or '.join(usable)}") from error


def check_show(show: int, episodes: int) -> None:
    """Raise unless ``show`` is the index of one of the episodes.

    Raises:
        GraspPlannerError: there are no episodes, or fewer than ``show + 1``.
    """
    if episodes < 1:
        raise GraspPlannerError(f"--episodes must be at least 1, got {episodes}")
    if not 0 <= show < episodes:
        raise GraspPlannerError(f"--show must be an episode from 0 to {episodes - 1}, got {show}")
