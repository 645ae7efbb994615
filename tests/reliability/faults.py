"""Faults that can be put anywhere: what goes wrong, in which part, for which rows, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grasp_planner import GoalDistance

BATCH, HORIZON, VICTIM, STEPS, LATER, INSTANT = 2, 3, 1, 2, 1, 1
"""Problems, model steps, the problem that is struck, planner steps, the step from which, the model step that is."""

NUMBERS = {"NaN": torch.nan, "+inf": torch.inf, "-inf": -torch.inf}
KINDS = (*NUMBERS, "overflow", "exception", "wrong shape", "wrong dtype", "slow call", "out of memory")
PARTS = ("forward", "gradient", "objective", "encode")
EXTENTS = ("one candidate", "one time step", "one problem", "whole batch")
WHENS = ("at once", "from a step on", "once")

ROOM = {"one candidate": 0, "one time step": 1, "one problem": 1, "whole batch": BATCH - 1}
"""Rows that there is memory for, where memory for this extent is lacking."""


class Broken(Exception):
    """What a model raises that breaks."""


class Clock:
    """A clock that only slow calls move."""

    def __init__(self) -> None:
        self.now = 100.0


@dataclass
class Fault:
    """One cell of the matrix, armed and disarmed by the step that planning is at."""

    kind: str
    part: str
    extent: str
    when: str
    candidates: int
    """How many plans a problem the planner tries at once; the last of several is the one that is struck."""
    clock: Clock = field(default_factory=Clock)
    gone: bool = False
    """Whether the fault has been taken away."""
    step: int = 0
    struck: int = 0
    """How often it struck."""
    serial_calls: int = 0
    asked: tuple[int, ...] = tuple(range(BATCH))
    """The problems that the model is asked about: not those that have stopped."""

    def armed(self) -> bool:
        """Whether it would strike now."""
        if self.gone or (self.when == "once" and self.struck):
            return False
        return self.when == "at once" or self.step >= LATER

    def rows(self, count: int, time_first: int | None, problems: tuple[int, ...] = tuple(range(BATCH))) -> Tensor:
        """Which of ``count`` rows, of these problems, are struck.

        Rows are problems, of which each has its candidates, of which each has its time steps where ``time_first`` is
        ``None``; otherwise the whole call is of that one time step.
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
                return torch.zeros(count, dtype=torch.bool)  # a plan that is no candidate: the first, or a mean
            return mask & (row % each // lengths == tried - 1)
        if self.extent == "one time step":
            return mask & ((row % HORIZON == INSTANT) if time_first is None else time_first == INSTANT)
        return mask

    def strikes(self, mask: Tensor) -> bool:
        """Whether it strikes rows of this mask now; counts the strike."""
        # Out of memory is a matter of how many rows there are; of which extent says how many would fit.
        there = mask.numel() > ROOM[self.extent] if self.kind == "out of memory" else bool(mask.any())
        hit = self.armed() and there
        self.struck += hit
        return hit

    def spoilt(self, out: Tensor, mask: Tensor) -> Any:
        """``out`` (n, ...) with the fault in it."""
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
    """The identity, whose gradient has the fault in it."""

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
    """A small nonlinear model with the fault in its answers, or in their gradients."""

    fault: Fault
    context: int = 1

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        fault, each = self.fault, states.shape[0] // len(self.fault.asked)
        out = states[:, -1] + 0.3 * torch.tanh(states[:, -1].flip(-1) + actions[:, -1] @ PUSH)
        serial = each % HORIZON != 0  # no planner here has a multiple of HORIZON candidates
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
    """The goal distance with the fault in it: in its stage cost at one time step, or in its terminal cost."""

    fault: Fault
    inner: GoalDistance = GoalDistance(stage_weight=0.1)

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
