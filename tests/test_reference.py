"""Every public name has one entry in docs/reference/, with an example, and with its exceptions.

Public are the names in ``__all__`` of the package and of its parts, and the names that pages and examples import.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snippets import PAGES, ROOT, blocks

PARTS = ("", ".planners", ".models", ".data", ".training", ".domains")
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
ENTRY = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def resolved(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def imported(source: str) -> Iterator[str]:
    """Yield the full names that a program imports from the package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "grasp_planner":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def public() -> dict[str, Any]:
    """Return the public names and what they name; an object with several names is returned once."""
    names = [
        f"{package}.{name}"
        for package in (f"grasp_planner{part}" for part in PARTS)
        for name in importlib.import_module(package).__all__
    ]
    programs = [block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))]
    programs += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.py"))]
    names += [name for program in programs for name in imported(program)]
    found: dict[int, tuple[str, Any]] = {}
    for name in names:
        found.setdefault(id(resolved(name)), (name, resolved(name)))
    return dict(found.values())


PUBLIC = public()
ENTRIES = {path: page for page in REFERENCE for path in ENTRY.findall(page.read_text(encoding="utf-8"))}
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE)


def documentation(thing: Any) -> str:
    """Return the docstring, for a class with those of its methods."""
    own = inspect.getdoc(thing) or ""
    if not inspect.isclass(thing):
        return own
    methods = [value for name, value in vars(thing).items() if not name.startswith("_")]
    return own + "\n".join(inspect.getdoc(method) or "" for method in methods)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_entry(name: str) -> None:
    thing = PUBLIC[name]
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert [path for path in ENTRIES if resolved(path) is thing], f"add ::: {name} to a page of docs/reference/"
    else:
        assert f"`{name.rpartition('.')[2]}`" in TEXT, f"describe the constant {name} in docs/reference/"


@pytest.mark.parametrize("path", ENTRIES)
def test_an_entry_has_an_example_and_its_exceptions(path: str) -> None:
    thing = resolved(path)
    text = documentation(thing)
    assert ">>> " in text, f"{path} has no example"
    assert "raise GraspPlannerError" not in inspect.getsource(thing) or "Raises:" in text, f"{path}: what is raised?"


def arguments(thing: Any) -> list[str]:
    """Return the names of the arguments of a function, or of the fields that make an instance of a dataclass."""
    if dataclasses.is_dataclass(thing):
        return [one.name for one in dataclasses.fields(thing) if one.init and not one.name.startswith("_")]
    return list(inspect.signature(thing).parameters) if inspect.isfunction(thing) else []


@pytest.mark.parametrize("path", ENTRIES)
def test_an_entry_explains_its_arguments(path: str) -> None:
    """A field may also be explained by the class that it is inherited from, or by the text below the field."""
    thing = resolved(path)
    things = [one for one in getattr(thing, "__mro__", [thing]) if one.__module__.startswith("grasp_planner")]
    text = "\n".join(inspect.getdoc(one) or "" for one in things)
    entries = re.findall(r"^ *\*{0,2}(\w+(?:, \w+)*)(?: \(.*?\))?: ", text, re.MULTILINE)
    explained = {name for names in entries for name in names.split(", ")}
    source = "\n".join(inspect.getsource(one) for one in things)
    explained |= set(re.findall(r"^    (\w+): .*\n    \"{3}", source, re.MULTILINE))
    missing = [name for name in arguments(thing) if name not in explained]
    assert not missing, f"{path} does not explain {missing}"


def test_no_entry_appears_twice() -> None:
    things = [id(resolved(path)) for path in ENTRIES]
    assert len(things) == len(set(things)) == len(ENTRY.findall(TEXT))


def test_the_overview_lists_the_entries_of_each_page() -> None:
    overview = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    for path, page in ENTRIES.items():
        (row,) = [line for line in overview.splitlines() if f"]({page.name})" in line]
        assert f"`{path.rpartition('.')[2]}`" in row, f"{path} is missing in the row of {page.name}"


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    folder = ROOT / "docs"
    pages = [page.relative_to(folder) for page in folder.rglob("*.md")]
    reports = [page for page in pages if page.parts[0] == "results" and len(page.parts) > 2]
    missing = [str(page) for page in pages if page not in reports and f"{Path(page).as_posix()}\n" not in navigation]
    assert not missing, f"add to nav in mkdocs.yml: {missing}"
