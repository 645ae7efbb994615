"""What the README and the docs show runs: Python blocks as they stand, and every `grasp` line parses.

Blocks marked ``py`` need files of other projects and are not run.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import grasp_planner
from grasp_planner.cli.main import COMMANDS, main
from grasp_planner.data.collecting import collect

ROOT = Path(__file__).parent.parent
CARDS = Path(grasp_planner.__file__).parent / "models" / "checkpoints"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *CARDS.rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ *(grasp [a-z].*)$", re.MULTILINE)
MENTION = re.compile(r"`(grasp [a-z][^`]*)`")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the data set that the pages speak of, small."""
    path = tmp_path_factory.mktemp("snippets")
    collect("push_t", 12, path / "data" / "push_t", steps=40, workers=1, progress=False)
    return path


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_blocks_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "snippet"}
    for block in PYTHON.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), names)


class Parsed(Exception):
    """The words were understood; what they ask for is not done."""


def test_commands_that_are_shown_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is parsed by its own command, up to the point where the work would begin."""
    import tyro

    parse = tyro.cli

    def stop(*positional: object, **named: object) -> None:
        parse(*positional, **named)  # exits with 2 where words do not fit
        raise Parsed

    monkeypatch.setattr(tyro, "cli", stop)
    text = "\n".join(page.read_text() for page in PAGES)
    assert {line.split()[1] for line in MENTION.findall(text)} <= set(COMMANDS)
    shown = COMMAND.findall(text)
    assert len(shown) > 10
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        assert words[0] in COMMANDS, line
        if any(word.isupper() for word in words) or "--help" in words:
            continue  # a form to fill in
        with pytest.raises(Parsed):
            main(words)
