"""``grasp completion``: print a script with which a shell completes the words of a command line."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from grasp_planner.cli.choices import Choice, Option
from grasp_planner.cli.collect_settings import Collect
from grasp_planner.cli.commands.bench import Bench
from grasp_planner.cli.commands.check import CheckSettings
from grasp_planner.cli.commands.data import Info, Preview
from grasp_planner.cli.commands.demo import Demo
from grasp_planner.cli.commands.diagnose import Diagnose
from grasp_planner.cli.commands.plan import PlanSettings
from grasp_planner.cli.commands.report import Report
from grasp_planner.cli.commands.train import LEARNERS, Train, recipe_choice
from grasp_planner.cli.commands.tune import Tune
from grasp_planner.cli.main import COMMANDS
from grasp_planner.cli.parsing import POSITIONAL, parse
from grasp_planner.cli.planner_choices import planner_choice

Shell = Literal["bash", "zsh"]

# Bash splits words at colons, as in planner:cem. tyro's script joins them again for the first word of a command line
# only, so this function joins all of them before, and removes from each completion what stands before the colon.
JOIN_WORDS = """
_grasp_words() {
  local -a words=()
  local i chosen=0
  for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
    if ((i > 0)) && [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i - 1]} == : ]]; then
      words[${#words[@]}-1]+=${COMP_WORDS[i]}
    else
      words+=("${COMP_WORDS[i]}")
    fi
    if ((i == COMP_CWORD)); then chosen=$((${#words[@]} - 1)); fi
  done
  local -a COMP_WORDS=("${words[@]}")
  local COMP_CWORD=$chosen
  FUNCTION
  local word=${words[chosen]}
  if [[ $word == *:* ]]; then
    local before=${word%"${word##*:}"}
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
  fi
}
complete -F _grasp_words grasp
"""


@dataclass(frozen=True)
class Completion:
    """Print a script with which a shell completes commands, flags, and names of planners and recipes.

    Write the script to a file once, and again after an update of the package:

    bash: `grasp completion bash > ~/.local/share/bash-completion/completions/grasp`

    zsh: `grasp completion zsh > ~/.zfunc/_grasp`, with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc

    Args:
        shell: bash or zsh.
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
    print(script(parse(Completion, arguments, "completion").shell), end="")
    return 0


def script(shell: Shell) -> str:
    """Return the script for a shell. tyro makes the script from the settings of all commands."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            parse(Grasp, ["--tyro-write-completion", shell, "-"], "", words_of)
    except SystemExit as done:  # tyro ends the program after printing
        if done.code:
            raise
    text = printed.getvalue()
    if shell != "bash":
        return text
    function = re.findall(r"^complete -F (\w+) grasp$", text, re.MULTILINE)[0]
    return text + JOIN_WORDS.replace("FUNCTION", function)


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
