"""What stands between the loop and the user's model: a meter on its calls, and the promise to leave it untouched."""

from __future__ import annotations

import functools
import inspect
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from grasp_planner.problem import Dynamics


class BudgetSpent(Exception):
    """The next model call would overrun the budget; ``reason`` says which part of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Meter:
    """Counts a model's calls and rows, and refuses the call that would overrun a limit.

    Attributes:
        calls: model calls so far.
        rows: rows evaluated so far, over all problems.
        most_rows: limit on ``rows``; ``None``: no limit.
        deadline: time of ``time.perf_counter`` after which no call is started; ``None``: no limit.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        self.context = dynamics.context
        self.calls = 0
        self.rows = 0
        self.most_rows: int | None = None
        self.deadline: float | None = None

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """The model's own answer, counted."""
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            raise BudgetSpent("seconds")
        if self.most_rows is not None and self.rows + states.shape[0] > self.most_rows:
            raise BudgetSpent("transitions")
        self.calls += 1
        self.rows += states.shape[0]
        return self.dynamics(states, actions)


def modules_in(thing: object, depth: int = 4) -> list[nn.Module]:
    """The modules that a model is made of: itself, its attributes, what a function of it closes over or names."""
    if isinstance(thing, nn.Module):
        return [thing]
    if depth == 0 or isinstance(thing, (Tensor, str, int, float, type, types.ModuleType)) or thing is None:
        return []
    parts: list[object] = []
    if isinstance(thing, functools.partial):
        parts = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, types.MethodType):
        parts = [thing.__self__]
    elif isinstance(thing, types.FunctionType):
        named = inspect.getclosurevars(thing)
        parts = [*named.nonlocals.values(), *named.globals.values()]
    elif isinstance(thing, dict):
        parts = list(thing.values())
    elif isinstance(thing, (list, tuple)):
        parts = list(thing)
    else:
        # Objects with slots have no __dict__, and then no attributes that we could look through.
        parts = list(getattr(thing, "__dict__", {}).values())
    found = {id(module): module for part in parts for module in modules_in(part, depth - 1)}
    return list(found.values())


@contextmanager
def frozen(dynamics: Dynamics) -> Iterator[None]:
    """Every module of the model in eval mode and without parameter gradients, then exactly as it was.

    Planning differentiates with respect to actions and states only; a graph to the weights would cost memory, and a
    model left in training mode would move its own statistics (batch norm) or answer at random (dropout).
    """
    modules = {id(m): m for root in modules_in(dynamics) for m in root.modules()}.values()
    training = [(module, module.training) for module in modules]
    gradients = [(p, p.requires_grad) for module in modules for p in module.parameters(recurse=False)]
    try:
        for module, _ in training:
            module.training = False  # not .eval(): that may be overridden to do more than set the flag
        for parameter, _ in gradients:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter, required in gradients:
            parameter.requires_grad_(required)
