"""Errors about broken data files: each names the file and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.untrusted import plain_json, small_text


def broken(path: Path, what: str) -> GraspPlannerError:
    """The error for a file or folder with a fault."""
    return GraspPlannerError(f"{path}: {what}")


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception inside the block into one error that names `path` and the expected `kind` of file.

    Raises:
        GraspPlannerError: reading failed, or the file is missing.

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
    except Exception as error:  # h5py, torch, numpy, json and pickle raise almost anything on broken files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        size = path.stat().st_size if path.is_file() else None
        hint = "the file is empty" if size == 0 else reason
        raise broken(path, f"not readable as {kind}: {hint}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        GraspPlannerError: the file is missing or broken, or it does not hold an object.
    """
    with reading(path, "JSON"):
        content = plain_json(small_text(path))
    if not isinstance(content, dict):
        raise broken(path, f"needed a JSON object, got a {type(content).__name__}")
    return content
