"""Faults of a model or an objective: the kind of fault, the faulty part, the faulty rows, and the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grasp_planner import GoalDistance

BATCH, HORIZON, STEPS = 2, 3, 4
"""Number of problems, horizon in model steps, and number of planner steps."""
VICTIM, INSTANT, LATER = 1, 1, 1
"""The faulty problem, the faulty model step, and the planner step from which a later fault is active."""

NUMBERS = {"NaN": torch.nan, "+inf": torch.inf, "-inf": -torch.inf}
KINDS = (*NUMBERS, "overflow", "exception", "wrong shape", "wrong dtype", "slow call", "out of memory")
PARTS = ("forward", "gradient", "objective", "encode")
EXTENTS = ("one candidate", "one time step", "one problem", "whole batch")
WHENS = ("at once", "from a step on", "once")

ROOM = {"one candidate": 0, "one time step": 1, "one problem": 1, "whole batch": BATCH - 1}
"""Number of rows that fit into memory if the fault is a lack of memory, by extent."""


class Broken(Exception):
    """The exception of a faulty model."""


class Clock:
    """A clock that only slow calls advance."""

    def __init__(self) -> None:
        self.now = 100.0


@dataclass
class Fault:
    """One cell of the fault matrix. The current planner step decides whether the fault is active."""

    kind: str
    part: str
    extent: str
    when: str
    candidates: int
    """Number of plans per problem that the planner evaluates at once; the last of several is the faulty plan."""
    clock: Clock = field(default_factory=Clock)
    gone: bool = False
    """Whether the fault is removed permanently."""
    step: int = 0
    struck: int = 0
    """How often the fault occurred."""
    steps_before: int = 0
    """Number of complete steps when the fault occurred first."""
    serial_calls: int = 0
    asked: tuple[int, ...] = tuple(range(BATCH))
    """The problems that the model is evaluated for; problems that have stopped are not among them."""

    def armed(self) -> bool:
        """Return whether the fault is active now."""
        if self.gone or (self.when == "once" and self.struck):
            return False
        return self.when == "at once" or self.step >= LATER

    def rows(self, count: int, time_first: int | None, problems: tuple[int, ...] = tuple(range(BATCH))) -> Tensor:
        """Return which of the ``count`` rows of a model call are faulty.

        Rows are ordered by problem, then by candidate, then by time step if ``time_first`` is ``None``. Otherwise all
        rows of the call belong to the time step ``time_first``.
        """
        each = count // len(problems)
        row = torch.arange(count)
        if self.extent == "whole batch" or self.kind == "out of memory":
            return torch.ones(count, dtype=torch.bool)
        mask = torch.tensor(problems)[row // each] == VICTIM
        lengths = 1 if time_first is not None else HORIZON
        if self.extent == "one candidate":
            tried = each // lengths
            if tried == 1 and self.candidates > 1:
                return torch.zeros(count, dtype=torch.bool)  # not a candidate: the first plan, or a mean
            return mask & (row % each // lengths == tried - 1)
        if self.extent == "one time step":
            return mask & ((row % HORIZON == INSTANT) if time_first is None else time_first == INSTANT)
        return mask

    def strikes(self, mask: Tensor) -> bool:
        """Return whether the fault occurs now in the rows of a mask, and count it."""
        # Whether memory suffices depends on the number of rows; the extent says how many rows fit.
        there = mask.numel() > ROOM[self.extent] if self.kind == "out of memory" else bool(mask.any())
        hit = self.armed() and there
        self.steps_before = self.step if hit and not self.struck else self.steps_before
        self.struck += hit
        return hit

    def spoilt(self, out: Tensor, mask: Tensor) -> Any:
        """Return ``out`` (n, ...) with the fault in the rows of a mask."""
        if self.kind == "exception":
            raise Broken
        if self.kind == "out of memory":
            raise torch.cuda.OutOfMemoryError("tried to allocate too much")
        if self.kind == "slow call":
            self.clock.now += 10.0
        if self.kind == "wrong shape":
            return out[~mask]
        if self.kind == "wrong dtype":
            return out.float()
        shaped = mask.reshape(-1, *[1] * (out.ndim - 1))
        if self.kind == "overflow":
            return torch.where(shaped, out * 1e200 * 1e200 if self.part == "objective" else out * 1e200, out)
        return torch.where(shaped, NUMBERS[self.kind], out) if self.kind in NUMBERS else out


PUSH = torch.tensor([[0.5, -0.2, 0.3], [0.1, 0.4, -0.3]], dtype=torch.float64)


class Spoilt(torch.autograd.Function):
    """The identity with a faulty gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, fault: Fault, mask: Tensor) -> Tensor:
        ctx.fault, ctx.mask = fault, mask
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, None, None]:
        (gradient,), fault = gradients, ctx.fault
        return (fault.spoilt(gradient, ctx.mask) if fault.strikes(ctx.mask) else gradient), None, None


@dataclass
class Model:
    """A small nonlinear model with the fault in its predictions or in their gradients."""

    fault: Fault
    context: int = 1

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        fault, each = self.fault, states.shape[0] // len(self.fault.asked)
        out = states[:, -1] + 0.3 * torch.tanh(states[:, -1].flip(-1) + actions[:, -1] @ PUSH)
        serial = each % HORIZON != 0  # no planner of the matrix has a multiple of HORIZON candidates
        time_first = fault.serial_calls % HORIZON if serial else None
        fault.serial_calls += serial
        mask = fault.rows(states.shape[0], time_first, fault.asked)
        if fault.part == "forward" and fault.strikes(mask):
            return fault.spoilt(out, mask)
        if fault.part == "gradient" and out.requires_grad:
            return Spoilt.apply(out, fault, mask)  # type: ignore[return-value]
        return out


@dataclass(frozen=True)
class FaultyObjective:
    """The goal distance with the fault in its stage cost at one time step or in its terminal cost."""

    fault: Fault
    inner: GoalDistance = GoalDistance(stage_weight=0.1)
    stage_weight: float = 0.1
    effort: float = 0.0

    def weights_like(self, states: Tensor) -> Tensor:
        return self.inner.weights_like(states)

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:
        return self._spoilt(self.inner.terminal(states, goal), self.fault.extent != "one time step")

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        cost = self.inner.stage(states, actions, goal)
        if self.fault.extent != "one time step":
            return cost
        if self.fault.kind in ("wrong shape", "wrong dtype"):
            return self._spoilt(cost, True)
        before, at, after = cost.split([INSTANT, 1, HORIZON - INSTANT - 1], dim=1)
        return torch.cat([before, self._spoilt(at, True), after], dim=1)

    def _spoilt(self, cost: Tensor, here: bool) -> Tensor:
        fault = self.fault
        if fault.part != "objective" or not here:
            return cost
        mask = fault.rows(cost.shape[0], INSTANT)
        return fault.spoilt(cost, mask) if fault.strikes(mask) else cost
