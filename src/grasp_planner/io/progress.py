"""A progress bar on the terminal, from rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from grasp_planner.core.errors import missing_extra


@contextmanager
def progress_bar(title: str, total: int | None, *, done: int = 0, show: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left, on stderr; the function given advances it.

    Args:
        title: what is being done.
        total: how much there is to do; None: unknown.
        done: how much of it was done before.
        show: False: no bar, the function does nothing.

    Raises:
        MissingExtraError: rich is not installed.
    """
    if not show:
        yield lambda amount: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        raise missing_extra("rich", "data", "the progress bar") from error

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done, rate="")

        def advance(amount: int) -> None:
            bar.advance(task, amount)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:,.0f}/s" if speed else "")

        yield advance
