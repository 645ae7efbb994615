"""Checks of settings before any work begins."""

from __future__ import annotations

from grasp_planner.core.errors import GraspPlannerError


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


def check_show(show: int | None, episodes: int) -> None:
    """Raise unless ``show`` is the index of one of the episodes, or ``None``.

    Raises:
        GraspPlannerError: there are no episodes, or fewer than ``show + 1``.
    """
    if episodes < 1:
        raise GraspPlannerError(f"--episodes must be at least 1, got {episodes}")
    if show is not None and not 0 <= show < episodes:
        raise GraspPlannerError(f"--show must be an episode from 0 to {episodes - 1}, got {show}")
