"""Output folders of commands. A command writes all its files, or leaves the folder unchanged."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def json_text(content: Any) -> str:
    """Return ``content`` as indented JSON; NaN and infinity, which JSON does not have, become null.

    >>> json_text({"cost": [1.5, float("nan")]}).split()
    ['{', '"cost":', '[', '1.5,', 'null', ']', '}']
    """
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically.

    Raises:
        GraspPlannerError: the folder of ``path`` is a file, or it cannot be created or written.
    """
    with output_folder(path.parent) as folder:
        (folder / path.name).write_text(json_text(content), encoding="utf-8")


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
def hint_when_stopped(hint: Callable[[], str]) -> Iterator[None]:
    """Print to stderr how to continue if Ctrl-C ends the block; ``hint`` is called after the block."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"grasp: {hint()}", file=sys.stderr)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove empty folders, the innermost first."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:
            return
