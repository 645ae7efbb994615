"""Delay Ctrl-C to the end of an optimiser step, so that a training can be saved."""

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
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            usual(number, frame)
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt
