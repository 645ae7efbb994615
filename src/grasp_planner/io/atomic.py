"""Atomic writing: a file or folder appears complete under its name, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError

try:
    import fcntl
except ImportError:  # on Windows, temporary folders of dead processes cannot be detected, and are kept
    fcntl = None  # type: ignore[assignment]

ATTEMPTS = 10  # to replace a folder while other processes replace it, too
PREFIX = ".grasp-unfinished-"
DISK_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file atomically: readers see the old file or the complete new file, even if the writer is killed.

    Args:
        path: the file; its folder must exist.
        write: function that writes the content to the given path, a file of the same name in a temporary folder.

    Returns:
        ``path``.

    Raises:
        GraspPlannerError: ``path`` is a folder or a device.
        OSError: the file cannot be written; the error names ``path``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "notes.txt", lambda temporary: temporary.write_text("done")).read_text()
    'done'
    """
    _check_replaceable(path)
    try:
        with temporary_folder(path.parent) as folder:
            temporary = folder / path.name
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise _naming(error, path) from error
    return path


def write_bytes_atomically(path: Path, content: bytes) -> Path:
    """Write bytes atomically.

    On a full disk, libraries that write files raise various exceptions, or crash. Make the content in memory and write
    it with this function, which raises an ``OSError`` on a full disk.

    Args:
        path: the file; its folder must exist.
        content: the whole content of the file.

    Returns:
        ``path``.

    Raises:
        GraspPlannerError: ``path`` is a folder or a device.
        OSError: the file cannot be written; the error names ``path``.
    """
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_folder_atomically(folder: Path, write: Callable[[Path], object]) -> Path:
    """Write a folder atomically. An existing folder of the same name is replaced.

    Args:
        folder: the folder; its parents are created if needed.
        write: function that writes the content to the given temporary folder.

    Returns:
        ``folder``.

    Raises:
        OSError: the folder cannot be written; the error names ``folder``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_folder(folder.parent) as place:
            temporary = place / folder.name
            temporary.mkdir()
            write(temporary)
            replace_folder(temporary, folder)
    except OSError as error:
        raise _naming(error, folder) from error
    return folder


def replace_folder(finished: Path, folder: Path) -> None:
    """Rename a finished folder to ``folder``, and replace an existing folder.

    Raises:
        GraspPlannerError: other processes replaced the folder at every attempt.
        OSError: the folder cannot be renamed.
    """
    for _ in range(ATTEMPTS):
        try:
            finished.rename(folder)
            return
        except OSError:
            # The name is taken by an old folder, or by a folder that another process has just finished.
            if not folder.exists():
                raise
            with temporary_folder(folder.parent) as place, suppress(FileNotFoundError):
                folder.rename(place / folder.name)
    raise GraspPlannerError(f"{folder}: other processes keep writing to this folder")


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """Collect output files in a hidden folder, and move them to ``folder`` when the block has ended without an error.

    The folder is checked on entry, so that a folder that cannot be written is reported before the work begins. After
    an error, Ctrl-C included, the files in ``folder`` are unchanged.

    Args:
        folder: the folder of the files, which is created if needed.

    Yields:
        The hidden folder to write to.

    Raises:
        GraspPlannerError: ``folder`` is a file, it cannot be created or written, or it holds a folder or a device of
            the name of an output file.
        OSError: a file cannot be written; the error names the file.
    """
    with temporary_folder(make_folder(folder)) as staging:
        try:
            yield staging
            for path in sorted(staging.iterdir()):
                _check_replaceable(folder / path.name)
                path.replace(folder / path.name)
        except OSError as error:
            if error.filename is None and error.errno not in DISK_FULL:
                raise  # the error may concern other files
            raise _naming(error, folder / Path(error.filename or "").name) from error


def make_folder(folder: Path) -> Path:
    """Create ``folder`` if it does not exist, and check that files can be created in it.

    Temporary files that dead processes left in it are removed.

    Returns:
        ``folder``.

    Raises:
        GraspPlannerError: ``folder`` is a file, or it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise GraspPlannerError(
            f"needed a folder that can be written, got {folder}: {error.strerror}; give another folder"
        ) from error
    remove_abandoned(folder)
    return folder


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder until the block ends. The system releases the lock when the process ends, even after ``kill -9``.

    Operating systems and file systems without locks do not lock the folder.

    Args:
        folder: an existing folder.
        wait: wait if another process, or another part of this process, has locked the folder.

    Raises:
        GraspPlannerError: another process, or another part of this process, has locked the folder, and ``wait`` is
            false.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # on Windows, folders cannot be opened
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                lock_file(descriptor, wait=wait)
            except BlockingIOError as error:
                raise GraspPlannerError(
                    f"another process works in {folder}: wait for it or stop it, or give another folder"
                ) from error
        yield


def _check_replaceable(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise GraspPlannerError(f"needed a file that can be replaced, got {path}, which is a folder or a device")


def _naming(error: OSError, path: Path) -> OSError:
    """Return the same error about ``path``, unless the error names a file that is not temporary."""
    if error.filename is not None and PREFIX not in str(error.filename):
        return error
    if error.errno is None:  # an error text of a library instead of an error of the operating system
        return OSError(f"{path}: {error}")
    return OSError(error.errno, os.strerror(error.errno), str(path))


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Make a hidden folder in ``parent``, and remove it with its content when the block ends.

    If the process is killed within the block, the folder stays. The next writer in ``parent`` removes it.

    Raises:
        OSError: the folder cannot be made.
    """
    remove_abandoned(parent)
    folder, lock = _locked_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in ``parent`` whose processes are dead.

    A process holds a lock on each of its temporary folders. The system releases the lock when the process ends, even
    after ``kill -9``.
    """
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # in use (BlockingIOError), removed by another process, or not ours to remove
            lock = os.open(folder, os.O_RDONLY)
            try:
                lock_file(lock)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a temporary folder, and lock it until the returned file descriptor is closed."""
    for _ in range(ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process removed the folder as abandoned before it was locked, here and below
        try:
            lock_file(lock)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:  # a file system without locks: other processes cannot lock the folder either
            return folder, lock
        if folder.exists():
            return folder, lock
        os.close(lock)
    raise GraspPlannerError(f"{parent}: other processes keep removing temporary folders")


def lock_file(descriptor: int, *, wait: bool = False) -> None:
    """Lock an open file or folder until its descriptor is closed.

    Args:
        descriptor: the file descriptor.
        wait: wait for the lock if another process, or another part of this process, has it.

    Raises:
        BlockingIOError: the file or folder is locked already, and ``wait`` is false.
        OSError: the file system has no locks.
    """
    if fcntl is None:
        raise OSError("no locks on this operating system")
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
