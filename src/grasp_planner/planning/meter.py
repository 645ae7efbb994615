"""The meter around the user's model, which counts calls and rows, and refuses calls beyond the budget."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.plans import Status
from grasp_planner.wrappers.piecewise import checked
from grasp_planner.wrappers.smoothable import smoothed


class BudgetSpent(Exception):
    """Raised when the next model call would exceed the budget; ``status`` says which limit was reached."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Meter:
    """A model that counts its calls and rows, and refuses a call that would exceed a limit.

    Attributes:
        calls: model calls so far.
        rows: rows evaluated so far, over all problems.
        fastest: seconds of the fastest call so far. The fastest call is used because the first calls include warm-up.
        largest: the largest number of rows in one call so far.
        model: the model that evaluates the rows: ``dynamics``, or ``dynamics`` in pieces if memory did not suffice.
        most_rows: limit on ``rows``; ``None``: no limit.
        deadline: time of ``time.perf_counter`` after which no call starts; ``None``: no limit.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = self.model = checked(dynamics, self.check_deadline)
        self.context = dynamics.context
        self.calls = 0
        self.rows = 0
        self.largest = 0
        self.fastest = math.inf
        self.most_rows: int | None = None
        self.deadline: float | None = None
        self._active: tuple[Tensor, int] | None = None

    def answer_only(self, active: Bool[Tensor, " b"] | None) -> None:
        """Evaluate the model only for active problems from now on; ``None``: for all problems.

        Rows are ordered by problem, so the rows of inactive problems can be left out of a call. Inactive rows are
        counted, and their last states are returned unchanged.
        """
        self._active = None if active is None else (active.nonzero()[:, 0], len(active))

    def check_deadline(self) -> None:
        """Raise ``BudgetSpent`` if the deadline has passed."""
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            raise BudgetSpent(Status.DEADLINE)

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Evaluate the model, and count the call.

        Raises:
            BudgetSpent: the call would exceed a limit.
        """
        return self.evaluate(self.model, states, actions)

    def smoothed(self, amount: float) -> Dynamics:
        """Return a smoother version of the model, whose calls count as calls of this meter."""
        model = smoothed(self.model, amount)
        return self if model is self.model else _Version(self, model)

    def evaluate(self, model: Dynamics, states: Tensor, actions: Tensor) -> Tensor:
        """Evaluate a version of the model, and count the call.

        Raises:
            BudgetSpent: the call would exceed a limit.
        """
        self.check_deadline()
        before = time.perf_counter()
        if self.most_rows is not None and self.rows + states.shape[0] > self.most_rows:
            raise BudgetSpent(Status.BUDGET)
        self.calls += 1
        self.rows += states.shape[0]
        if self._active is None:
            next_states = self._answer(model, states, actions)
        else:
            problems, batch = self._active
            each = states.shape[0] // batch
            rows = (problems[:, None] * each + torch.arange(each, device=problems.device)).flatten()
            next_states = self._answer(model, states[rows], actions[rows])
            if _fits(next_states, states[rows, -1]):  # `Problem.call` refuses an answer that does not fit
                next_states = states[:, -1].index_copy(0, rows, next_states)
        self.fastest = min(self.fastest, time.perf_counter() - before)
        return next_states

    def _answer(self, model: Dynamics, states: Tensor, actions: Tensor) -> Tensor:
        self.largest = max(self.largest, states.shape[0])
        return model(states, actions)


@dataclass(frozen=True)
class _Version:
    """Another version of a metered model."""

    meter: Meter
    model: Dynamics

    @property
    def context(self) -> int:
        return self.model.context

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        return self.meter.evaluate(self.model, states, actions)


def _fits(answer: object, like: Tensor) -> bool:
    return isinstance(answer, Tensor) and (answer.shape, answer.dtype) == (like.shape, like.dtype)
