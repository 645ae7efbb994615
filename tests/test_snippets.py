"""What the README and the docs show runs: Python blocks as they stand, and every `grasp` line parses.

Blocks marked ``py`` need files of other projects and are not run.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from grasp_planner.cli.main import COMMANDS, main
from grasp_planner.data.collecting import collect
from snippets import NAMES, PAGES, as_program, blocks, type_errors

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
    for block in blocks(page.read_text()):
        exec(compile(block, str(page), "exec"), names)


def test_a_type_error_in_a_page_is_found_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n```python\nx = 1\n```\n\ntext\n\n```python\ny: str = x\n```\n\n```py\nz: str = x\n```\n"
    )
    assert as_program(page.read_text()).splitlines() == ["", "", "", "x = 1", *[""] * 4, "", "y: str = x"]
    (error,) = type_errors([page])
    assert error.startswith(f"{page}:10: ") and 'declared type "str"' in error


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
