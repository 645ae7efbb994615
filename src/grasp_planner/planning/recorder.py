"""The record of a run: best cost, time and transitions after every step, snapshots of the best plans, final status."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.constraints import violated
from grasp_planner.core.plans import Scored, Snapshot, Status, Statuses, Trace


class _Row(NamedTuple):
    """What is known after a step."""

    cost: Float[Tensor, " b"]
    seconds: float
    transitions: int


class Recorder:
    """The rows of a :class:`~grasp_planner.core.plans.Trace`.

    A run may be interrupted at any instruction. Each row is added whole or not at all.
    """

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._snapshots: list[Snapshot] = []

    @property
    def transitions(self) -> int:
        """Model transitions per problem after the last step."""
        return self._rows[-1].transitions

    def add(self, step: int, seconds: float, transitions: int, best: Scored) -> None:
        """Add a row. Add a snapshot, too, if the best plans changed and the last snapshot is long enough ago."""
        self._rows.append(_Row(best.cost, seconds, transitions))
        last = self._snapshots[-1] if self._snapshots else None
        if last is None or (step >= last.step * 1.05 and best.actions is not last.actions):
            self._snapshots.append(Snapshot(step, seconds, transitions, best.actions, best.cost))

    def trace(self, step: int, seconds: float, transitions: int, best: Scored) -> Trace:
        """Return the trace, which ends with a snapshot of the best plans."""
        rows = self._rows or [_Row(best.cost, seconds, transitions)]  # interrupted before the first row
        if not self._snapshots or best.actions is not self._snapshots[-1].actions:
            self._snapshots.append(Snapshot(step, seconds, transitions, best.actions, best.cost))
        costs, times, spent = zip(*rows, strict=True)
        return Trace(torch.stack(costs), times, spent, tuple(self._snapshots))


def final_status(status: Int[Tensor, " b"], ended: Status, violation: Float[Tensor, " b"] | None) -> Int[Tensor, " b"]:
    """Return the status of every problem at the end of planning.

    Args:
        status: values of :class:`Status`; below 0 for problems that were still running, whose status becomes ``ended``.
        ended: why planning ended.
        violation: violation of the constraints by the plans; ``None`` if there are no constraints.

    Example:
        >>> final_status(torch.tensor([0, -1, 3, -1]), Status.BUDGET, torch.tensor([0.0, 0.5, 0.5, 0.0]))
        [CONVERGED, VIOLATED, NONFINITE, BUDGET]
    """
    status = torch.where(status < 0, int(ended), status)
    if violation is not None:
        told = (status == Status.NONFINITE) | (status == Status.INTERRUPTED)
        status = torch.where(violated(violation) & ~told, int(Status.VIOLATED), status)
    return status.as_subclass(Statuses)
