"""Progress on the terminal while planning: one bar a planner, with its best cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grasp_planner.core.plans import Budget
from grasp_planner.planning.protocol import Callback, Planner, Progress

if TYPE_CHECKING:
    from rich.console import Console

EVERY = 0.1  # s between two looks at the costs


class Bars:
    """Bars for what is being done, one below the other; made by ``progress_bars``."""

    def __init__(self, shown: object) -> None:
        self._shown: object = shown

    def task(self, title: str) -> Callable[..., None]:
        """A new bar; the function given sets the share that is done, from 0 to 1, and if you like a remark."""
        number = self._shown.add_task(title, total=1.0, remark="")  # type: ignore[attr-defined]

        def update(share: float, remark: str = "") -> None:
            self._shown.update(number, completed=share, remark=remark)  # type: ignore[attr-defined]

        return update

    @contextmanager
    def planning(self, title: str, planner: Planner, budget: Budget) -> Iterator[Callback]:
        """A new bar, and the callback for ``plan`` that moves it; full at the end, wherever planning stopped."""
        update, looked, last = self.task(title), 0.0, None

        def remark(progress: Progress) -> str:
            return f"best cost {float(progress.best.cost.median()):.3g}"

        def callback(progress: Progress) -> None:
            nonlocal looked, last
            last = progress
            if (now := time.monotonic()) - looked >= EVERY:
                looked = now
                update(share_spent(progress, planner, budget), remark(progress))

        yield callback
        update(1.0, "" if last is None else remark(last))


def share_spent(progress: Progress, planner: Planner, budget: Budget) -> float:
    """How much of a budget is spent, from 0 to 1: of the limit that comes first."""
    shares = [0.0]
    if budget.steps:
        shares.append(progress.step / budget.steps)
    if budget.seconds:
        shares.append(progress.seconds / budget.seconds)
    if budget.transitions:
        spent = (1 + progress.step * planner.rollouts_per_step) * progress.problem.horizon
        shares.append(spent / budget.transitions)
    return min(1.0, max(shares))


@contextmanager
def progress_bars(console: Console) -> Iterator[Bars]:
    """Bars that live as long as the block."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Shown

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Shown(*columns, console=console) as shown:
        yield Bars(shown)
