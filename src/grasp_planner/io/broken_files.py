"""Errors about broken files. Each message names the file and says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError


def broken(path: Path, what: str) -> GraspPlannerError:
    """Return the error to raise for a file or folder with unexpected content."""
    return GraspPlannerError(f"{path}: {what}")


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Convert every error inside the block to an error that names the file and its expected kind.

    Args:
        path: the file that the block reads.
        kind: the expected kind of file, such as ``"JSON"``.

    Raises:
        GraspPlannerError: reading failed, or the file does not exist.

    >>> from pathlib import Path
    >>> with reading(Path("lengths.json"), "JSON"):
    ...     raise EOFError("no input")
    Traceback (most recent call last):
    grasp_planner.core.errors.GraspPlannerError: lengths.json: not readable as JSON: no input
    """
    try:
        yield
    except GraspPlannerError:
        raise
    except FileNotFoundError as error:
        raise broken(path, f"there is no such {kind} file") from error
    except ImportError:
        raise
    except Exception as error:  # h5py, torch, numpy, json and pickle raise almost any exception on broken files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        size = path.stat().st_size if path.is_file() else None
        hint = "the file is empty" if size == 0 else reason
        raise broken(path, f"not readable as {kind}: {hint}") from error
