"""Jobs that fail, in a small module that a worker imports fast."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError


def die_once(path: str) -> int:
    """Kill the first process that calls this function, as the system does when memory is short."""
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
