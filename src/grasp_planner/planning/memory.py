"""Out of memory: evaluate the model in smaller pieces, and raise an error only if a single row does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.planning.meter import Meter
from grasp_planner.wrappers.chunked import Chunked

Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device or the machine is out of memory.

    Example:
        >>> is_out_of_memory(torch.cuda.OutOfMemoryError()), is_out_of_memory(RuntimeError("another one"))
        (True, False)
    """
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    # Some devices, such as the CPU, have no error class for this case, so the message is read.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory", "out of memory")
    )


def within_memory(meter: Meter, act: Callable[[], Result]) -> Result:
    """Return what ``act`` returns. If memory does not suffice, call it again with half as many rows per model call.

    ``act`` must be repeatable. A step of a planner is repeatable, since it writes to nothing and draws its noise from
    its arguments. The calls of a failed attempt are not counted, so that the plan for a given budget is the same.

    Raises:
        GraspPlannerError: not even one row at a time fits into memory.
    """
    while True:
        calls, rows = meter.calls, meter.rows
        try:
            return act()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
        # This is outside of the handler, because the error keeps the tensors of the failed attempt alive.
        meter.calls, meter.rows = calls, rows
        _split(meter, said)


def _split(meter: Meter, said: str) -> None:
    """Halve the number of rows that the model evaluates at once."""
    pieces = isinstance(meter.model, Chunked) and meter.model is not meter.dynamics
    most = meter.model.rows if pieces else meter.largest  # type: ignore[union-attr]
    if most is None or most <= 1:
        raise GraspPlannerError(
            f"out of memory, and not even one row of the model at a time fits with the tensors of planning ({said}). "
            "Plan fewer problems at a time, fewer candidates, or a shorter horizon; with gradients a row takes several "
            "times as much: CEM, ICEM, MPPI and RandomShooting need none"
        )
    meter.model = Chunked(meter.dynamics, rows=most // 2).checked(meter.check_deadline)
