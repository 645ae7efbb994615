"""The load of the machine during a measurement: how many cores other processes kept busy."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

BUSY = 0.25
"""Cores of other processes from which on seconds are not to be trusted."""
SHORTEST = 0.2  # s; the system counts in hundredths of a second, so shorter spans say little
PROCESSES = Path("/proc")
COUNTERS = PROCESSES / "stat"


class Load:
    """A measurement of the machine's load, from the moment when it is made."""

    def __init__(self) -> None:
        self._busy, self._own, self._began = _busy_seconds(), _own_seconds(), time.perf_counter()

    def others(self) -> float | None:
        """Return how many cores other processes kept busy since the start, on average.

        In a worker of a run, its parent and the run's other workers do not count.
        ``None``: the span is shorter than 0.2 s, or the system has no ``/proc/stat``, as only Linux has.
        """
        busy, elapsed = _busy_seconds(), time.perf_counter() - self._began
        if self._busy is None or busy is None or elapsed < SHORTEST:
            return None
        own = _own_seconds() - self._own
        return max(0.0, (busy - self._busy - own) / elapsed)


def load_warning(others: float | None) -> str:
    """Return a warning about the load of the machine; empty if the machine is idle or its load is not known.

    >>> load_warning(1.26)
    'other processes keep 1.3 cores busy, so seconds come out too long: measure on an otherwise idle machine'
    >>> load_warning(0.02)
    ''
    """
    if others is None or others <= BUSY:
        return ""
    return (
        f"other processes keep {others:.1f} cores busy, so seconds come out too long: measure on an otherwise idle "
        "machine"
    )


def _busy_seconds() -> float | None:
    """Return the seconds for which the machine's cores were busy since it started, summed over cores."""
    try:
        user, nice, system, _, _, interrupts, soft, stolen = map(int, COUNTERS.read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the processor seconds of this process; in a worker, those of its parent and of all the parent's workers.

    Without ``/proc``, they are those of this process.
    """
    parent = multiprocessing.parent_process()
    if parent is None or not COUNTERS.exists():
        return time.process_time()
    ticks = 0
    for process in PROCESSES.glob("[0-9]*"):
        try:  # the fields after the name: state, parent, ..., and the 12th and 13th are user and system time
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
        if parent.pid in (int(process.name), int(fields[1])):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
