"""Jobs that go wrong, in a module that a worker has read in no time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError


def die_once(path: str) -> int:
    """The first process that gets here is killed, as by the system when memory is short."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def always_die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def fault(number: int) -> int:
    raise GraspPlannerError(f"job {number} cannot be done")
