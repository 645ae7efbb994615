"""Atomic writing: a file or folder appears complete under its name, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError

ATTEMPTS = 10  # at replacing a folder while other processes replace it too


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file atomically: readers see the old file or the complete new file, even if the writer is killed.

    Args:
        path: the file; its folder must exist.
        write: writes the content to the path that it is called with: a file of the same name in a temporary folder.

    Returns:
        ``path``.

    Raises:
        OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "notes.txt", lambda temporary: temporary.write_text("done")).read_text()
    'done'
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    return path


def write_folder_atomically(folder: Path, write: Callable[[Path], object]) -> Path:
    """Write a folder atomically; an existing folder of this name is replaced.

    Args:
        folder: the folder; its parents are created if needed.
        write: writes the content to the temporary folder that it is called with.

    Returns:
        ``folder``.

    Raises:
        OSError: the folder cannot be written.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def replace_folder(finished: Path, folder: Path) -> None:
    """Rename a finished folder to ``folder``, in place of what is there.

    Raises:
        GraspPlannerError: other processes replaced the folder at every attempt.
        OSError: the folder cannot be renamed.
    """
    for _ in range(ATTEMPTS):
        try:
            finished.rename(folder)
            return
        except OSError:
            # The name is taken: by an old folder, or by one that another process has just finished.
            if not folder.exists():
                raise
            old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
            try:
                folder.rename(old)
            except FileNotFoundError:
                continue
            shutil.rmtree(old, ignore_errors=True)
    raise GraspPlannerError(f"{folder}: other processes keep writing to this folder")


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """Collect output files in a hidden folder, and move them to ``folder`` when the block has ended without an error.

    The folder is checked on entry, so that a folder that cannot be written is reported before the work begins. After
    an error, Ctrl-C included, the files in ``folder`` are unchanged.

    Args:
        folder: where the files go; created if needed.

    Yields:
        The hidden folder to write to.

    Raises:
        GraspPlannerError: ``folder`` is a file, or it cannot be created or written.
    """
    make_folder(folder)
    staging = Path(tempfile.mkdtemp(prefix=".grasp-", dir=folder))
    try:
        yield staging
        for path in sorted(staging.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def make_folder(folder: Path) -> Path:
    """Create ``folder`` if it does not exist, and check that files can be created in it.

    Returns:
        ``folder``.

    Raises:
        GraspPlannerError: ``folder`` is a file, or it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise GraspPlannerError(
            f"needed a folder that can be written, got {folder}: {error.strerror}; give another folder"
        ) from error
