"""The record of a run: best cost, time and transitions after every step, and snapshots of the best plans."""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_planner.core.plans import Scored, Snapshot, Trace


class Recorder:
    """Collects the rows of a :class:`~grasp_planner.core.plans.Trace`.

    Attributes:
        seconds: wall-clock time after each step.
        transitions: model transitions per problem after each step.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.transitions: list[int] = []
        self._costs: list[Tensor] = []
        self._snapshots: list[Snapshot] = []

    def add(self, step: int, seconds: float, transitions: int, best: Scored) -> None:
        """Add a row, and a snapshot if the best plans changed and the last snapshot is long enough ago."""
        self._costs.append(best.cost)
        self.seconds.append(seconds)
        self.transitions.append(transitions)
        last = self._snapshots[-1] if self._snapshots else None
        if last is None or (step >= last.step * 1.05 and best.actions is not last.actions):
            self._snapshots.append(Snapshot(step, seconds, transitions, best.actions, best.cost))

    def trace(self, step: int, seconds: float, transitions: int, best: Scored) -> Trace:
        """Return the trace, which ends with a snapshot of the best plans."""
        if best.actions is not self._snapshots[-1].actions:
            self._snapshots.append(Snapshot(step, seconds, transitions, best.actions, best.cost))
        rows = torch.stack(self._costs), tuple(self.seconds), tuple(self.transitions)
        return Trace(*rows, tuple(self._snapshots))
