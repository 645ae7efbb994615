"""Folders that commands write to: whole or untouched."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grasp_planner.io.atomic import staged_files


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write to, whose files move to ``folder`` when all of them are there.

    Entering it proves that ``folder`` can be written, so that this is known before the work and not after it. When
    anything goes wrong, Ctrl-C included, ``folder`` is left as it was.

    Raises:
        GraspPlannerError: ``folder`` is a file, or cannot be made or written.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with staged_files(folder) as staging:
            yield staging
    finally:
        _remove_empty(new)


@contextmanager
def leaving_no_empty_folder(folder: Path) -> Iterator[None]:
    """Take ``folder`` away again if something goes wrong before anything was written to it.

    Raises:
        GraspPlannerError: ``folder`` is a file, or cannot be made or written.
    """
    with output_folder(folder):
        pass
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        _remove_empty(new)
        raise


@contextmanager
def hint_when_stopped(hint: str) -> Iterator[None]:
    """Say on stderr how to go on, when Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"grasp: {hint}", file=sys.stderr)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Take away folders that were made here and hold nothing, the innermost first."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:
            return
