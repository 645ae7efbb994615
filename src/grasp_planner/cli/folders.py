"""Output folders of commands: they get all files, or they are left unchanged."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grasp_planner.io.atomic import staged_files


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Collect output files in a hidden folder, and move them to ``folder`` when the block has ended without an error.

    The folder is checked on entry, so that a folder that cannot be written is reported before the work begins. After
    an error, Ctrl-C included, ``folder`` is unchanged.

    Raises:
        GraspPlannerError: ``folder`` is a file, or it cannot be created or written.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with staged_files(folder) as staging:
            yield staging
    finally:
        _remove_empty(new)


@contextmanager
def leaving_no_empty_folder(folder: Path) -> Iterator[None]:
    """Check that ``folder`` can be written, and remove it if the block fails before writing to it.

    Raises:
        GraspPlannerError: ``folder`` is a file, or it cannot be created or written.
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
    """Print to stderr how to continue if Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"grasp: {hint}", file=sys.stderr)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove empty folders, the innermost first."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:
            return
