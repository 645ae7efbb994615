"""``grasp completion``: print a script with which a shell completes the words of a command line."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, get_args, get_type_hints

from grasp_planner.bench.running.engines import ENGINES
from grasp_planner.bench.suites.loading import suites
from grasp_planner.bench.suites.spaces import spaces
from grasp_planner.bench.tasks import TASKS
from grasp_planner.cli import name_completion
from grasp_planner.cli.choices import Choice, Option
from grasp_planner.cli.collect_settings import Collect
from grasp_planner.cli.commands.bench import Bench
from grasp_planner.cli.commands.check import CheckSettings
from grasp_planner.cli.commands.data import Info, Preview
from grasp_planner.cli.commands.demo import Demo
from grasp_planner.cli.commands.diagnose import DIAGNOSES, Diagnose
from grasp_planner.cli.commands.plan import PlanSettings
from grasp_planner.cli.commands.report import Report
from grasp_planner.cli.commands.train import LEARNERS, Train, recipe_choice
from grasp_planner.cli.commands.tune import Tune
from grasp_planner.cli.main import COMMANDS
from grasp_planner.cli.parsing import POSITIONAL, is_positional, parse
from grasp_planner.cli.planner_choices import planner_choice
from grasp_planner.cli.shell_scripts import Shell, shell_script
from grasp_planner.domains.registry import DOMAINS, POLICIES
from grasp_planner.models.registry import ANALYTIC, checkpoints

# The parts of the script that tyro writes: a Python program, and in it the description of all commands and flags.
TYRO_PROGRAM = re.compile(r"<< 'PYTHON_EOF'[^\n]*\n(.*?)\nPYTHON_EOF\n", re.DOTALL)
TYRO_DESCRIPTION = re.compile(r"^COMPLETION_SPEC = (.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Completion:
    """Print a script with which a shell completes commands, flags, and names of tasks, models, planners and suites.

    Write the script to a file once, and again after an update of the package:

    bash: `grasp completion bash > ~/.local/share/bash-completion/completions/grasp`

    zsh: `grasp completion zsh > ~/.zfunc/_grasp`, with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc

    fish: `grasp completion fish > ~/.config/fish/completions/grasp.fish`

    Args:
        shell: bash, zsh or fish.
    """

    shell: Annotated[Shell, POSITIONAL]


@dataclass(frozen=True)
class Grasp:
    """Plan in learned world models over long horizons."""

    command: Any


@dataclass(frozen=True)
class Data:
    """Show the contents of a data set."""

    command: Any


SETTINGS: dict[str, type] = {
    "demo": Demo,
    "plan": PlanSettings,
    "tune": Tune,
    "collect": Collect,
    "train": Train,
    "data": Data,
    "bench": Bench,
    "report": Report,
    "diagnose": Diagnose,
    "check": CheckSettings,
    "completion": Completion,
}
"""The settings of each command."""


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    print(shell_script(parse(Completion, arguments, "completion").shell, program()), end="")
    return 0


def program() -> str:
    """Return the Python program that completes words in every shell.

    tyro makes the program from the settings of all commands, and ``with_names`` adds the names. The program contains
    all words, and does not import this package.
    """
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            parse(Grasp, ["--tyro-write-completion", "bash", "-"], "", words_of)
    except SystemExit as done:  # tyro ends the program after printing
        if done.code:
            raise
    (made,) = TYRO_PROGRAM.findall(printed.getvalue())
    (described,) = TYRO_DESCRIPTION.findall(made)
    # Python reads a JSON text much faster than the same literal.
    text = json.dumps(ast.literal_eval(described))
    names = names_of_fields()
    flags = {f"--{name.replace('_', '-')}": found for name, found in names.items()}
    return "\n".join(
        [
            inspect.getsource(name_completion),
            "import json",
            f"COMPLETION_SPEC = with_names(json.loads({text!r}), {flags!r}, {words_without_flag(names)!r}, "
            f"{list(LEARNERS)!r})",
            made.replace(f"COMPLETION_SPEC = {described}\n", ""),
        ]
    )


def words_of(holder: type, hint: Any) -> Choice | None:
    """Return the words that a field can be given: commands, planners and recipes. ``None`` for other fields."""
    if holder is Grasp:
        return Choice("command", {name: Option(cls, COMMANDS[name]) for name, cls in SETTINGS.items()}, named=False)
    if holder is Data:
        return Choice("command", {"info": Option(Info, ""), "preview": Option(Preview, "")}, named=False)
    if (choice := recipe_choice(holder, hint)) is not None:
        networks = {name: Option(settings, "") for name, (settings, _) in LEARNERS.items()}
        return replace(choice, options={**choice.options, **networks})
    return planner_choice(holder, hint)


def names_of_fields() -> dict[str, list[str]]:
    """Return the names that complete the value of a field, by the name of the field.

    A field of a name means the same in every command: ``model`` is a model of ``plan``, ``tune`` and ``check``.
    """
    models = [*checkpoints(), *ANALYTIC]
    return {
        "task": list(dict.fromkeys([*DOMAINS, *(name.rpartition("/")[0] for name in TASKS), *TASKS])),
        "model": models,
        "models": models,
        "suite": list(suites()),
        "env": list(DOMAINS),
        "policy": list(POLICIES),
        "planners": list(spaces()),
        "what": list(DIAGNOSES),
        "engine": list(ENGINES),
        "shell": list(get_args(Shell)),
    }


def words_without_flag(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the names that complete the words of each command that have no flag.

    Args:
        names: the names for each field.
    """
    words: dict[str, list[str]] = {}
    for command, cls in SETTINGS.items():
        hints = get_type_hints(cls, include_extras=True)
        positional = [one.name for one in fields(cls) if is_positional(hints[one.name])]
        words[command] = [word for name in positional for word in names.get(name, [])]
    return words
