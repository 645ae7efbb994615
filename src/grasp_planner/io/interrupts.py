"""Delay Ctrl-C to the end of a block, or raise it again there if the block has caught it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def delayed_interrupt() -> Iterator[Callable[[], bool]]:
    """Delay the ``KeyboardInterrupt`` of a first Ctrl-C to the end of the block. A second Ctrl-C is not delayed.

    Outside the main thread, and in a process that ignores Ctrl-C, nothing is changed.

    Yields:
        A function that returns whether Ctrl-C has been pressed. The block should then end soon.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    with _noticed_interrupt(delayed=1) as pressed:
        yield pressed


@contextmanager
def lasting_interrupt() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at the end of the block if Ctrl-C was pressed in the block, and the block caught it.

    Planning catches the ``KeyboardInterrupt`` and returns the best plan so far. If an exception ends the block after
    Ctrl-C, ``KeyboardInterrupt`` takes its place. Outside the main thread, and in a process that ignores Ctrl-C,
    nothing is changed.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    with _noticed_interrupt(delayed=0) as pressed:
        try:
            yield
        except Exception as error:
            if pressed():
                raise KeyboardInterrupt from error
            raise


@contextmanager
def _noticed_interrupt(delayed: int) -> Iterator[Callable[[], bool]]:
    """Raise ``KeyboardInterrupt`` at the end of the block if Ctrl-C was pressed; ignore the first ones until then."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield lambda: False
        return
    pressed = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > delayed:
            usual(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed > 0
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt
