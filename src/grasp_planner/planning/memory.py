"""Out of memory: the same work in smaller pieces, and an error only when the smallest does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.planning.meter import Meter
from grasp_planner.wrappers.chunked import Chunked

Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this says that memory does not suffice, on whatever device.

    Example:
        >>> is_out_of_memory(torch.cuda.OutOfMemoryError()), is_out_of_memory(RuntimeError("another one"))
        (True, False)
    """
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    # What torch says where no device has an error of its own for it, as on the CPU.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory", "out of memory")
    )


def within_memory(meter: Meter, act: Callable[[], Result]) -> Result:
    """What ``act`` returns; where memory does not suffice, it is tried again with half as many rows a model call.

    ``act`` must be repeatable: a step of a planner is, since it writes to nothing and draws its noise from its
    arguments. What was counted of an attempt that failed is taken back, so a budget buys the same plan.

    Raises:
        GraspPlannerError: not even one row at a time fits.
    """
    while True:
        calls, rows = meter.calls, meter.rows
        try:
            return act()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
        # Not within the handler: the error holds on to all that the attempt had made.
        meter.calls, meter.rows = calls, rows
        _split(meter, said)


def _split(meter: Meter, said: str) -> None:
    """From here on half as many rows at once."""
    pieces = isinstance(meter.model, Chunked) and meter.model is not meter.dynamics
    most = meter.model.rows if pieces else meter.largest  # type: ignore[union-attr]
    if most is None or most <= 1:
        raise GraspPlannerError(
            f"out of memory, and not even one row of the model at a time fits beside what planning keeps ({said}). "
            "Plan fewer problems at a time, fewer candidates, or a shorter horizon; with gradients a row takes several "
            "times as much: CEM, ICEM, MPPI and RandomShooting need none"
        )
    meter.model = Chunked(meter.dynamics, rows=most // 2)
