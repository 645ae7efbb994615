"""What stands between the loop and the user's model: a meter on its calls, and the promise to leave it untouched."""

from __future__ import annotations

import functools
import math
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Bool
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


def modules_in(*things: object, depth: int = 6) -> list[nn.Module]:
    """The modules that models are made of: themselves, what they hold, what their code closes over or names.

    Args:
        *things: models, objectives, functions, or containers of them.
        depth: how many references to follow before giving up.
    """
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    level = list(things)
    for _ in range(depth):
        following: list[object] = []
        for thing in level:
            if id(thing) in seen or isinstance(thing, _LEAVES):
                continue
            seen.add(id(thing))
            if isinstance(thing, nn.Module):
                found[id(thing)] = thing
            else:
                following.extend(_held_by(thing))
        level = following
    return list(found.values())


_LEAVES = (Tensor, str, bytes, int, float, complex, type, types.ModuleType, types.BuiltinFunctionType, type(None))


def _held_by(thing: object) -> list[object]:
    """What a thing refers to: parts of a container, names in a function, attributes and methods of an object."""
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, types.FunctionType):
        return _named_in(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    held = list(getattr(thing, "__dict__", {}).values())
    for kind in type(thing).__mro__[:-1]:
        for name, member in vars(kind).items():
            if _is_filled_slot(member, thing):
                held.append(member.__get__(thing))
            elif name == "__call__" or not name.startswith("__"):
                held.append(member)
    return held


def _is_filled_slot(member: object, thing: object) -> bool:
    """Whether a class member is a slot (an attribute that no instance dictionary shows) with something in it."""
    if not isinstance(member, types.MemberDescriptorType):
        return False
    try:
        member.__get__(thing)
    except AttributeError:
        return False
    return True


def _named_in(function: types.FunctionType) -> list[object]:
    """What a function closes over, what it names of its module's globals, and its default arguments."""
    held: list[object] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a name that is not bound yet
            continue
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        held += [function.__globals__[name] for name in code.co_names if name in function.__globals__]
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return held


class _Flag(NamedTuple):
    """A flag of a module or parameter that is held at False: what it was, and how many calls hold it."""

    owner: nn.Module | nn.Parameter
    was: bool
    holders: int


# Threads may plan in one model at once, and a callback may plan in the model that it was called from. The first to
# freeze a flag knows what it was, and only the last to let go may put it back; both must see the same count.
_HELD: dict[int, _Flag] = {}
_LOCK = threading.Lock()


@contextmanager
def frozen(*things: object) -> Iterator[None]:
    """Every module of a model or objective in eval mode and without parameter gradients, then exactly as it was.

    Planning differentiates with respect to actions and states only; a graph to the weights would cost memory, and a
    model left in training mode would move its own statistics (batch norm) or answer at random (dropout). Calls may
    overlap, in several threads or one within the other: the model is woken up when the last of them ends.
    """
    modules = {id(m): m for root in modules_in(*things) for m in root.modules()}
    parameters = {id(p): p for module in modules.values() for p in module.parameters(recurse=False)}
    ours: list[nn.Module | nn.Parameter] = []
    try:
        with _LOCK:
            for owner in [*modules.values(), *parameters.values()]:
                held = _HELD.get(id(owner))
                _HELD[id(owner)] = held._replace(holders=held.holders + 1) if held else _Flag(owner, _flag(owner), 1)
                ours.append(owner)
                _set_flag(owner, False)
        yield
    finally:
        with _LOCK:
            for owner in ours:
                held = _HELD.pop(id(owner))
                if held.holders > 1:
                    _HELD[id(owner)] = held._replace(holders=held.holders - 1)
                else:
                    _set_flag(owner, held.was)


def _flag(owner: nn.Module | nn.Parameter) -> bool:
    return owner.training if isinstance(owner, nn.Module) else owner.requires_grad


def _set_flag(owner: nn.Module | nn.Parameter, value: bool) -> None:
    if isinstance(owner, nn.Module):
        owner.training = value  # not .train(): that may be overridden to do more than set the flag
    else:
        owner.requires_grad_(value)
