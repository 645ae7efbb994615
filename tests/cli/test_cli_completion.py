"""The completion scripts complete the words of real command lines, in the shells themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grasp_planner.bench.suites.loading import suites
from grasp_planner.bench.tasks import TASKS, task
from grasp_planner.cli.commands import completion
from grasp_planner.cli.main import COMMANDS, main
from grasp_planner.cli.name_completion import with_names
from grasp_planner.cli.shell_scripts import FILES, shell_script
from grasp_planner.models.registry import ANALYTIC, checkpoints
from grasp_planner.planners.presets import PRESETS

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")


@pytest.fixture(scope="module")
def program() -> str:
    return completion.program()


@pytest.fixture(scope="module")
def scripts(program: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of the script of each shell."""
    folder = tmp_path_factory.mktemp("completion")
    paths = {shell: folder / f"grasp.{shell}" for shell in ("bash", "zsh", "fish")}
    for shell, path in paths.items():
        path.write_text(shell_script(shell, program))
    return paths


@pytest.fixture(scope="module")
def script(scripts: dict[str, Path]) -> Path:
    return scripts["bash"]


def run_shell(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> list[str]:
    """Return the words that a shell prints. The shell finds the Python of this process first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **(variables or {})},
        timeout=60,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


def completed(script: Path, line: str, folder: Path) -> list[str]:
    """Return the completions of the last word of a line. Bash splits lines at spaces and at colons."""
    words = re.findall(r":|[^\s:]+", line) + [""] * line.endswith(" ")
    program = (
        f'source {script}; COMP_LINE=$LINE; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "$(complete -p grasp | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return run_shell(["bash", "--norc", "-c", program, "bash", *words], folder, {"LINE": line})


def completed_in_zsh(script: Path, line: str, folder: Path) -> list[str]:
    """Return the completions of the last word of a line. Functions of zsh's completion system print what they get."""
    program = (
        "compdef() { }; _files() { print FILES; }; "
        "_describe() { local one; for one in ${(P)2}; do print -r -- ${${one//\\\\:/@}%%:*}; done; }; "
        f'source {script}; words=("$@"); CURRENT=$#; _grasp'
    )
    words = re.findall(r"\S+", line) + [""] * line.endswith(" ")
    return [word.replace("@", ":") for word in run_shell(["zsh", "-f", "-c", program, "zsh", *words], folder)]


def completed_in_fish(script: Path, line: str, folder: Path) -> list[str]:
    """Return the completions of the last word of a line, without their descriptions."""
    program = f"source {script}; complete -C $argv[1] | string replace --regex '\\t.*' ''; true"
    return run_shell(["fish", "--no-config", "-c", program, line], folder)


@needs_bash
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("grasp pl", ["plan"]),
        ("grasp plan --ep", ["--episodes"]),
        ("grasp plan --episodes 3 --no-comp", ["--no-compile"]),
        ("grasp demo --animation g", ["gif"]),
        ("grasp plan planner:ic", ["icem", "icem/paper"]),
        ("grasp plan --episodes 3 planner:multi-s", ["multi-start"]),
        ("grasp plan planner:cem --planner.sam", ["--planner.samples"]),
        ("grasp plan planner:grasp planner.sync:random", ["random-shooting"]),
        ("grasp plan planner:grasp planner.sync:cem --planner.sync.el", ["--planner.sync.elites"]),
        ("grasp collect wall --tran", ["--transitions"]),
        ("grasp data pre", ["preview"]),
        ("grasp data preview --fr", ["--frames"]),
        ("grasp train wall-sta", ["wall-state"]),
        ("grasp train val", ["value"]),
        ("grasp train value --dat", ["--data"]),
        ("grasp nosuch --nosuch", []),
    ],
)
def test_the_last_word_is_completed(line: str, expected: list[str], script: Path, tmp_path: Path) -> None:
    assert completed(script, line, tmp_path) == expected


NAMES = [
    ("grasp plan --task wall/d", ["wall/dset", "wall/dset/v1"]),
    ("grasp plan --model wall-", ["wall-lewm", "wall-patches", "wall-pixels", "wall-state"]),
    ("grasp plan planner:cem --model wall-", ["wall-lewm", "wall-patches", "wall-pixels", "wall-state"]),
    ("grasp tune --planners gd ice", ["icem"]),
    ("grasp bench sm", ["smoke"]),
    ("grasp bench smoke --models wall-state pusht-p", ["pusht-patches", "pusht-pixels"]),
    ("grasp bench smoke --engine r", ["ray"]),
    ("grasp collect ball", ["ball_nav"]),
    ("grasp collect wall --policy ball", ["ball_nav"]),
    ("grasp check pusht-p", ["pusht-patches", "pusht-pixels"]),
    ("grasp diagnose land", ["landscape"]),
    ("grasp completion f", ["fish"]),
    ("grasp train value --model wall-s", ["wall-state"]),
]
"""Names after flags, and names that have no flag."""

FLAGS = [
    ("grasp plan planner:cem --ep", ["--episodes"]),
    ("grasp plan planner:grasp planner.sync:cem --ep", ["--episodes"]),
    ("grasp train wall-state --dat", ["--data"]),
    ("grasp train value --resu", []),
    ("grasp bench smoke --plan", ["--plan-only"]),
]
"""Flags of a command after the name of a planner or a recipe. `grasp train value` is a command with its own flags."""


@needs_bash
@pytest.mark.parametrize(("line", "expected"), NAMES + FLAGS)
def test_names_and_later_flags_are_completed(line: str, expected: list[str], script: Path, tmp_path: Path) -> None:
    assert completed(script, line, tmp_path) == expected


@needs_zsh
@pytest.mark.parametrize(("line", "expected"), [*NAMES, *FLAGS, ("grasp plan planner:icem/", ["planner:icem/paper"])])
def test_zsh_completes_the_same_words(line: str, expected: list[str], scripts: dict[str, Path], tmp_path: Path) -> None:
    # Without a completion, zsh completes the names of files.
    assert completed_in_zsh(scripts["zsh"], line, tmp_path) == expected


@needs_fish
@pytest.mark.parametrize(("line", "expected"), [*NAMES, *FLAGS, ("grasp plan planner:icem/", ["planner:icem/paper"])])
def test_fish_completes_the_same_words(
    line: str, expected: list[str], scripts: dict[str, Path], tmp_path: Path
) -> None:
    assert completed_in_fish(scripts["fish"], line, tmp_path) == expected


@needs_fish
def test_fish_completes_paths(scripts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert completed_in_fish(scripts["fish"], "grasp plan --out resu", tmp_path) == ["results/"]
    assert completed_in_fish(scripts["fish"], "grasp plan --model resu", tmp_path) == ["results/"]


@needs_bash
def test_all_names_are_offered(script: Path, tmp_path: Path) -> None:
    assert set(COMMANDS) <= set(completed(script, "grasp ", tmp_path))
    planners = set(completed(script, "grasp plan planner:", tmp_path))
    assert {"recommended", "gauss-newton", *PRESETS} <= planners
    assert {"--planner.std", "--help"} <= set(completed(script, "grasp plan planner:cem --", tmp_path))
    assert set(completed(script, "grasp plan --model ", tmp_path)) == {*checkpoints(), *ANALYTIC}
    assert set(suites()) <= set(completed(script, "grasp bench ", tmp_path))


@needs_bash
def test_every_completed_task_is_a_task(script: Path, tmp_path: Path) -> None:
    offered = completed(script, "grasp plan --task ", tmp_path)
    assert set(TASKS) | {"push_t", "wall/random_state"} <= set(offered)
    assert len(set(offered)) == len(offered) and {task(name).name for name in offered} <= set(TASKS)


@needs_bash
def test_paths_are_completed_after_a_flag(script: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert completed(script, "grasp plan --out resu", tmp_path) == ["results"]


@needs_bash
def test_bash_completes_files_where_no_name_fits(script: Path, tmp_path: Path) -> None:
    registered = run_shell(["bash", "--norc", "-c", f"source {script}; complete -p grasp"], tmp_path)
    assert registered[:3] == ["complete", "-o", "default"]


def test_the_program_needs_the_standard_library_only(program: str) -> None:
    # -S hides all installed packages, so that neither this package nor torch can be imported.
    words = ["grasp", "plan", "--model", "pusht-pi"]
    command = [sys.executable, "-I", "-S", "-", *words, "3"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["pusht-pixels"] * 2, "the word and its description"


def test_all_shells_call_the_same_program(program: str, scripts: dict[str, Path]) -> None:
    for shell in ("bash", "zsh"):
        assert f"<< 'END'\n{program}\nEND\n" in scripts[shell].read_text()
    (quoted,) = re.findall(r"set -l program '(.*?[^\\])'\n", scripts["fish"].read_text(), re.DOTALL)
    assert re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) == program
    assert "\nEND\n" not in program and FILES in program


def test_names_follow_flags_and_flags_follow_planners() -> None:
    inner = {"options": [{"flags": ["--lr"], "type": "value"}], "subcommands": {}}
    outer = {"options": [{"flags": ["--task"], "type": "value"}], "subcommands": {"planner:gd": inner}}
    made = with_names({"subcommands": {"plan": outer}}, {"--task": ["wall"]}, {"plan": ["all"]}, apart=[])
    assert [one["flags"] for one in inner["options"]] == [["--lr"], ["--task"], ["all"]]
    assert made["subcommands"]["plan"]["options"][0] == {"flags": ["--task"], "type": "choice", "choices": ["wall"]}


def test_every_command_is_completed_with_its_settings() -> None:
    assert list(completion.SETTINGS) == list(COMMANDS)


@pytest.mark.parametrize(("shell", "first"), [("zsh", "#compdef grasp\n"), ("fish", "# Completion of grasp in fish")])
def test_the_command_prints_the_script(shell: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(first) and "planner:multi-start" in captured.out and not captured.err
    assert "COMP_WORDS" not in captured.out, "only bash splits words at colons"
