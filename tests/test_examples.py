"""Every example runs at its small size and prints what its text shows."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from snippets import ROOT
from test_snippets import assert_printed

FOLDER = ROOT / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
SHOWN = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONAL = {"sweep_ray": "ray"}


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder and return what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_prints_what_it_shows(script: Path, tmp_path: Path) -> None:
    text = script.read_text(encoding="utf-8")
    (shown,) = SHOWN.findall(ast.get_docstring(ast.parse(text)) or "")
    small = ["--small"] if '"--small"' in text else []
    printed = run([sys.executable, str(script), *small], tmp_path)
    package = OPTIONAL.get(script.stem)
    if package is not None and find_spec(package) is None:
        assert printed.startswith("skipped: this example needs ") and "pip install" in printed
        pytest.skip(printed.strip())
    assert_printed(printed, shown)


def test_the_slurm_recipe_runs_without_slurm(tmp_path: Path) -> None:
    command = ["env", f"OUT={tmp_path}", "bash", str(FOLDER / "sweep_slurm.sbatch"), "--local"]
    assert run(command, tmp_path).strip() == f"tasks: 2, the report is in {tmp_path}/report"
    report = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| planner | H = 20 | H = 40 |" in report


def test_the_index_lists_every_example() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([\w.]+)\)", index))
    assert listed == {path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".sbatch")}
