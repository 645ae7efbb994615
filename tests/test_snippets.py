"""The README and the docs: Python examples run and print the shown output, commands parse, and links have targets.

Blocks marked ``py`` need files of other projects and are not run. A block marked ``text`` directly after a ``python``
block is its expected output.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
from pathlib import Path

import pytest

from snippets import CARDS, NAMES, PAGES, ROOT, as_program, type_errors

GUIDES = [ROOT / "CONTRIBUTING.md", *(page for page in PAGES if CARDS not in page.parents)]

EXAMPLE = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ *(?:python -m grasp_planner|(?=grasp )grasp) ([a-z].*)$", re.MULTILINE)
MENTION = re.compile(r"`grasp ([a-z]+)[^`]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def assert_printed(printed: str, expected: str) -> None:
    """Check that two outputs have the same words, and the same numbers except for rounding."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", expected).split(), printed
    for got, wanted in zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True):
        assert math.isclose(float(got), float(wanted), rel_tol=1e-3), printed


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small version of the data set that the pages read."""
    from grasp_planner.data.collecting import collect

    path = tmp_path_factory.mktemp("snippets")
    collect("push_t", 12, path / "data" / "push_t", steps=40, workers=1, progress=False)
    return path


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_blocks_run_and_print_what_the_page_says(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "snippet"}
    for block, expected in EXAMPLE.findall(page.read_text()):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(block, str(page), "exec", dont_inherit=True), names)
        if expected or page in GUIDES:
            assert_printed(output.getvalue(), expected)


def test_a_type_error_in_a_page_is_found_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n```python\nx = 1\n```\n\ntext\n\n```python\ny: str = x\n```\n\n```py\nz: str = x\n```\n"
    )
    assert as_program(page.read_text()).splitlines() == ["", "", "", "x = 1", *[""] * 4, "", "y: str = x"]
    (error,) = type_errors([page])
    assert error.startswith(f"{page}:10: ") and 'declared type "str"' in error


class Parsed(Exception):
    """Raised when the words were parsed, so that the command is not run."""


def test_commands_that_are_shown_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is parsed by its own command, up to the point where the work would begin."""
    import tyro

    from grasp_planner.cli.main import COMMANDS, main

    parse = tyro.cli

    def stop(*positional: object, **named: object) -> None:
        parse(*positional, **named)  # exits with status 2 on invalid words
        raise Parsed

    monkeypatch.setattr(tyro, "cli", stop)
    text = "\n".join(page.read_text() for page in PAGES).replace("\\\n", " ")  # continued lines
    assert set(MENTION.findall(text)) <= set(COMMANDS)
    shown = COMMAND.findall(text)
    assert len(shown) > 10
    for line in shown:
        words = shlex.split(line, comments=True)
        assert words[0] in COMMANDS, line
        if any(word.isupper() for word in words) or "--help" in words:
            continue  # a template with placeholders
        with pytest.raises(Parsed):
            main(words)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_at_most_120_characters(page: Path) -> None:
    if page.name == "report.md":
        return  # written by `grasp report`
    prose = FENCED.sub("", page.read_text()).splitlines()
    assert not [line for line in prose if len(line) > 120 and not line.startswith(("|", "    "))]
