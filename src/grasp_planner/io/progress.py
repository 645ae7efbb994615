"""Progress bars on the terminal, drawn by rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from grasp_planner.core.errors import missing_extra

if TYPE_CHECKING:
    from rich.console import Console


class Bars:
    """Progress bars on the terminal, which ``progress_bars`` makes.

    Args:
        shown: the ``rich.progress.Progress`` that draws the bars.
    """

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def task(self, title: str) -> Callable[..., None]:
        """Add a bar.

        Returns:
            A function that sets the finished share, from 0 to 1, and optionally a remark after the bar.
        """
        number = self._shown.add_task(title, total=1.0, amount="  0%", remark="")

        def update(share: float, remark: str = "") -> None:
            self._shown.update(number, completed=share, amount=f"{100 * share:3.0f}%", remark=remark)

        return update

    def counter(self, title: str, total: int | None, done: int = 0) -> Callable[[int], None]:
        """Add a bar that counts items, and shows the number of items per second.

        Args:
            title: what is counted.
            total: how many there are; ``None`` if unknown.
            done: how many were done before.

        Returns:
            A function that adds to the count.
        """
        whole = "?" if total is None else f"{total}"
        number = self._shown.add_task(title, total=total, completed=done, amount=f"{done}/{whole}", remark="")
        task = next(one for one in self._shown.tasks if one.id == number)

        def advance(amount: int) -> None:
            self._shown.advance(number, amount)
            rate = f"{task.speed:,.0f}/s" if task.speed else ""
            self._shown.update(number, amount=f"{int(task.completed)}/{whole}", remark=rate)

        return advance


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Bars]:
    """Show progress bars while the block runs.

    Args:
        console: the console to draw on; ``None``: the standard error stream.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Console as NewConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    except ImportError as error:
        raise missing_extra("rich", "data", "the progress bar") from error
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=console or NewConsole(stderr=True)) as shown:
        yield Bars(shown)


@contextmanager
def progress_bar(title: str, total: int | None, *, done: int = 0, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Show one bar that counts, on the standard error stream, while the block runs.

    Args:
        title: what is counted.
        total: how many there are; ``None`` if unknown.
        done: how many were done before.
        show: ``False`` for no bar. The yielded function then does nothing.

    Raises:
        MissingExtraError: rich is not installed.
    """
    if not show:
        yield lambda amount: None
        return
    with progress_bars() as bars:
        yield bars.counter(title, total, done)
