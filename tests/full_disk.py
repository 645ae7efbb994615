"""Simulate full disks by a limit on the size of files in this process. Python ignores the signal of this limit.

    python tests/full_disk.py '[[LIMIT, ...], [WORDS, ...], [WORDS, ...]]'

Each limit gets a new folder. ``grasp`` is called with the first words under the limit, and with the second words
without a limit. OUT in the words is the folder. The program prints one line of JSON with the outcome for each limit.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    """The outcome of a command whose files are limited to ``limit`` bytes, and of a later call without limit."""

    limit: int
    status: int
    errors: list[str]
    hidden: list[str]
    """Temporary files that the command left."""
    status_after: int
    errors_after: list[str]
    files_after: list[str]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files to ``size`` bytes inside the block."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))


def outcomes(limits: list[int], words: str, words_after: str | None = None) -> list[Outcome]:
    """Run a command under each limit and then without a limit, in a separate process."""
    asked = json.dumps([limits, words.split(), (words_after or words).split()])
    done = subprocess.run([sys.executable, __file__, asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]


def _called(words: list[str]) -> tuple[int, list[str]]:
    from grasp_planner.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
    lines = said.getvalue().splitlines()
    return status, [line for line in lines if line.startswith("grasp: ") or "Error" in line]


def _tried(limit: int, words: list[str], words_after: list[str]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        with largest_file(limit):
            status, errors = _called([word.replace("OUT", str(out)) for word in words])
        hidden = [path.name for path in out.rglob(".*")]
        status_after, errors_after = _called([word.replace("OUT", str(out)) for word in words_after])
        files = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
        return Outcome(limit, status, errors, hidden, status_after, errors_after, files)


if __name__ == "__main__":
    LIMITS, WORDS, WORDS_AFTER = json.loads(sys.argv[1])
    for one in LIMITS:
        print(json.dumps(_tried(one, WORDS, WORDS_AFTER)), flush=True)
