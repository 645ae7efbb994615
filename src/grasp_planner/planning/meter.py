"""The meter between the loop and the user's model: it counts calls and rows, and refuses what the budget lacks."""

from __future__ import annotations

import math
import time

import torch
from jaxtyping import Bool
from torch import Tensor

from grasp_planner.core.problem import Dynamics


class BudgetSpent(Exception):
    """The next model call would overrun the budget; ``reason`` says which part of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Meter:
    """Counts a model's calls and rows, and refuses the call that would overrun a limit.

    Attributes:
        calls: model calls so far.
        rows: rows asked for so far, over all problems.
        fastest: seconds of the fastest call so far; the first ones of a run are slow for reasons of their own.
        largest: the most rows that a call has had.
        model: what answers: ``dynamics``, or the same in pieces where memory does not suffice.
        most_rows: limit on ``rows``; ``None``: no limit.
        deadline: time of ``time.perf_counter`` after which no call is started; ``None``: no limit.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = self.model = dynamics
        self.context = dynamics.context
        self.calls = 0
        self.rows = 0
        self.largest = 0
        self.fastest = math.inf
        self.most_rows: int | None = None
        self.deadline: float | None = None
        self._asking: tuple[Tensor, int] | None = None

    def answer_only(self, asking: Bool[Tensor, " b"] | None) -> None:
        """From here on the model is asked for these problems alone; ``None``: for all.

        Rows come problem by problem, so those of the others can be left out of a call. They are counted, and their
        last states are handed back as they are.
        """
        self._asking = None if asking is None else (asking.nonzero()[:, 0], len(asking))

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """The model's own answer, counted."""
        before = time.perf_counter()
        if self.deadline is not None and before >= self.deadline:
            raise BudgetSpent("seconds")
        if self.most_rows is not None and self.rows + states.shape[0] > self.most_rows:
            raise BudgetSpent("transitions")
        self.calls += 1
        self.rows += states.shape[0]
        if self._asking is None:
            next_states = self._answer(states, actions)
        else:
            problems, batch = self._asking
            each = states.shape[0] // batch
            rows = (problems[:, None] * each + torch.arange(each, device=problems.device)).flatten()
            next_states = self._answer(states[rows], actions[rows])
            if _fits(next_states, states[rows, -1]):  # what does not is for `Problem.call` to refuse
                next_states = states[:, -1].index_copy(0, rows, next_states)
        self.fastest = min(self.fastest, time.perf_counter() - before)
        return next_states

    def _answer(self, states: Tensor, actions: Tensor) -> Tensor:
        self.largest = max(self.largest, states.shape[0])
        return self.model(states, actions)


def _fits(answer: object, like: Tensor) -> bool:
    return isinstance(answer, Tensor) and (answer.shape, answer.dtype) == (like.shape, like.dtype)
