"""The completion scripts complete the words of real command lines, in bash itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grasp_planner.cli.commands import completion
from grasp_planner.cli.main import COMMANDS, main
from grasp_planner.planners.presets import PRESETS

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "grasp"
    path.write_text(completion.script("bash"))
    return path


def completed(script: Path, line: str, folder: Path) -> list[str]:
    """Return the completions of the last word of a line. Bash splits lines at spaces and at colons."""
    words = re.findall(r":|[^\s:]+", line) + [""] * line.endswith(" ")
    program = (
        f'source {script}; COMP_LINE=$LINE; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "$(complete -p grasp | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": path, "LINE": line},
        timeout=60,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


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


@needs_bash
def test_all_names_are_offered(script: Path, tmp_path: Path) -> None:
    assert set(COMMANDS) <= set(completed(script, "grasp ", tmp_path))
    planners = set(completed(script, "grasp plan planner:", tmp_path))
    assert {"recommended", "gauss-newton", *PRESETS} <= planners
    assert {"--planner.std", "--help"} <= set(completed(script, "grasp plan planner:cem --", tmp_path))


@needs_bash
def test_paths_are_completed_after_a_flag(script: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert completed(script, "grasp plan --out resu", tmp_path) == ["results"]


def test_every_command_is_completed_with_its_settings() -> None:
    assert list(completion.SETTINGS) == list(COMMANDS)


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("#compdef grasp\n") and "planner:multi-start" in captured.out and not captured.err
    assert "_grasp_words" not in captured.out, "zsh does not split words at colons"
