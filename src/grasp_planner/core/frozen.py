"""Set the user's modules to eval mode without parameter gradients during planning, and restore them afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from grasp_planner.core.reachable import modules_in

Owner = nn.Module | nn.Parameter
"""The owner of a flag: a module (``training``) or a parameter (``requires_grad``)."""


@contextmanager
def frozen(*things: object) -> Iterator[None]:
    """Hold every module of a model or objective in eval mode without parameter gradients, and restore it afterwards.

    Planning differentiates with respect to actions and states only. A graph to the weights would cost memory, and a
    model in training mode would change its statistics (batch norm) or make random predictions (dropout). Calls may
    overlap in several threads, or be nested. The flags are restored when the last of these calls ends.

    A ``KeyboardInterrupt`` may arrive at any instruction. The flags are then restored before the exception is freed.
    """
    hold = _Hold(*things)
    # If the first release is interrupted, then the second release completes it.
    try:
        try:
            hold.take()
            yield
        finally:
            hold.release()
    finally:
        hold.release()


class _Flag:
    """A flag that is held at False: its owner, its value before, and the calls that hold it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.was = owner.training if isinstance(owner, nn.Module) else owner.requires_grad
        self.holders: set[_Hold] = set()

    def set(self, value: bool) -> None:
        if isinstance(self.owner, nn.Module):
            self.owner.training = value  # not .train(), since a subclass may override it to do more than set the flag
        else:
            self.owner.requires_grad_(value)


# Several threads may plan with one model at once, and a callback may plan with the same model. The first call that
# holds a flag stores its value, and the last call that ends restores the value. Both use the same entry of this table.
_HELD: dict[int, _Flag] = {}
_LOCK = threading.RLock()


class _Hold:
    """The flags that one call of ``frozen`` holds."""

    def __init__(self, *things: object) -> None:
        modules = modules_in(*things)
        parameters = {id(p): p for module in modules for p in module.parameters(recurse=False)}
        self.owners: list[Owner] = [*modules, *parameters.values()]

    def take(self) -> None:
        """Hold every flag at False."""
        _while_locked(self._take)

    def release(self) -> None:
        """Release every flag. It is safe to call this method twice, or again after an interrupt."""
        if self.owners or _LOCK._is_owned():  # type: ignore[attr-defined]
            _while_locked(self._release)

    def _take(self) -> None:
        for owner in self.owners:
            flag = _HELD.setdefault(id(owner), _Flag(owner))
            flag.holders.add(self)
            flag.set(False)

    def _release(self) -> None:
        for owner in self.owners:
            flag = _HELD.get(id(owner))
            if flag is None:
                continue
            flag.holders.discard(self)
            if not flag.holders:
                flag.set(flag.was)
                del _HELD[id(owner)]
        self.owners = []


def _while_locked(work: Callable[[], None]) -> None:
    """Do some work under the lock. If an interrupt leaves the lock held, then the next call frees it."""
    try:
        _LOCK.acquire()
        work()
    finally:
        # A `with` statement, or a variable that says that the lock is held, could be interrupted before it takes
        # effect.
        while _LOCK._is_owned():  # type: ignore[attr-defined]
            _LOCK.release()
