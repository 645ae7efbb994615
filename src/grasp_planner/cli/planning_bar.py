"""A progress bar for planning, which also shows the best cost so far."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from grasp_planner.io.progress import Bars
from grasp_planner.planning.protocol import Callback, Progress

EVERY = 0.1  # seconds between two updates of the bar


@contextmanager
def planning_bar(bars: Bars, title: str) -> Iterator[Callback]:
    """Add a bar, and yield the callback of ``plan`` that advances the bar. The bar is full when the block ends."""
    update, updated, last = bars.task(title), 0.0, None

    def callback(progress: Progress) -> None:
        nonlocal updated, last
        last = progress
        if (now := time.monotonic()) - updated >= EVERY:
            updated = now
            update(progress.spent, best_cost(progress))

    yield callback
    update(1.0, "" if last is None else best_cost(last))


def best_cost(progress: Progress) -> str:
    """Return the median over problems of the best cost so far."""
    return f"best cost {float(progress.best.cost.median()):.3g}"
