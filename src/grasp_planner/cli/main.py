"""The program ``grasp``: call the command that the first word names, and turn exceptions into exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TextIO

from grasp_planner import __version__
from grasp_planner.core.errors import GraspPlannerError, known_name, missing_extra

# name -> summary for `grasp --help`. The module of the same name in ``commands`` is imported only when the command is
# called, since most commands import torch, which takes seconds.
COMMANDS = {
    "demo": "plan Push-T with four planners, execute the plans in the simulator, show who won",
    "plan": "plan with a task, a model, a planner and settings of your choice, and show the results",
    "tune": "search settings of planners for a task and a model, with the same number of trials for each",
    "collect": "collect a data set in an environment with its scripted policy",
    "train": "train a world model on a data set",
    "data": "show the contents of a data set: `grasp data info`, `grasp data preview`",
    "bench": "run a suite of comparisons: tune all planners in the same way, then measure them",
    "report": "make a page of tables, charts and episodes from a suite's records",
    "diagnose": "measure and draw the effects of long horizons on losses, plans and models",
    "check": "check whether a model keeps the promises that planners rely on",
    "completion": "print a script that completes commands, flags and names in bash, zsh and fish",
}

FAILED, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 after an error, 130 after Ctrl-C.

    Args:
        arguments: the words after the program's name; ``None``: the words of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _call(words)
        sys.stdout.flush()
        return status
    except GraspPlannerError as error:
        return _complain(str(error))
    except OSError as error:
        _give_up_unwritten(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return 0  # the reader of the output has closed it
        return _complain(f"{error.filename or 'the output'}: {error.strerror}" if error.strerror else str(error))
    except KeyboardInterrupt:
        print("grasp: interrupted", file=sys.stderr)
        return INTERRUPTED


def _call(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else FAILED
    if words[0] == "--version":
        print(f"grasp-planner {__version__}")
        return 0
    command = known_name("command", words[0], COMMANDS)
    for package in ("tyro", "rich", "tomli-w"):
        if find_spec(package.replace("-", "_")) is None:
            raise missing_extra(package, "cli", "the command line")
    return import_module(f"grasp_planner.cli.commands.{command}").run(words[1:])


def usage() -> str:
    """Return the text of ``grasp --help``.

    >>> usage().splitlines()[0]
    'usage: grasp COMMAND [OPTIONS]'
    """
    rows = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: grasp COMMAND [OPTIONS]",
            "",
            "Plan in learned world models over long horizons.",
            "",
            "commands:",
            *rows,
            "",
            "`grasp COMMAND --help` lists the options of a command; `grasp --version` prints the version.",
        ]
    )


def _give_up_unwritten(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to the null device. Otherwise, Python would fail again at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _complain(message: str) -> int:
    with suppress(OSError):  # the error output can be full, too
        print(f"grasp: error: {' '.join(message.split())}", file=sys.stderr)
    _give_up_unwritten(sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
