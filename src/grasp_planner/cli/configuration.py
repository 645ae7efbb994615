"""Configuration files of commands: settings in TOML, which flags override, and the settings of a run as such a file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from grasp_planner.cli.choices import Choice, Choices, Option, no_choices
from grasp_planner.cli.parsing import parse
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.io.atomic import write_atomically
from grasp_planner.io.broken_files import broken, reading
from grasp_planner.io.text_files import read_text
from grasp_planner.io.typed_json import from_json, to_json

Settings = TypeVar("Settings")
FIELD = "config"  # the field of a command's settings that names the file
DIGITS = 17  # significant digits that determine a number exactly
MOST_TEXT = 2**18
"""Largest size of a configuration file, in bytes."""


@dataclass(frozen=True)
class NamedField:
    """How a configuration file holds a field whose values are chosen by name, such as the planner.

    Args:
        name: name of the field.
        word: the word that chooses the option of a name on the command line.
        chosen: whether the words of a command line choose a value.
        read: a function of the value in the file, a text or a table. It returns the value of the field.
        write: a function of the value of the field. It returns a table.
    """

    name: str
    word: Callable[[str], str]
    chosen: Callable[[Sequence[str]], bool]
    read: Callable[[Any], Any]
    write: Callable[[Any], dict[str, Any]]


def parse_with_file(
    cls: type[Settings],
    arguments: Sequence[str],
    command: str,
    choices: Choices = no_choices,
    named: NamedField | None = None,
) -> Settings:
    """Parse a command line whose flag ``--config FILE`` names a configuration file. Flags override the file.

    Args:
        cls: the dataclass of the settings, with a field ``config``.
        arguments: the words after the command.
        command: the command, for help and errors.
        choices: see ``parsing.parse``.
        named: the field of the dataclass whose values are chosen by name. A name on the command line replaces the value
            in the file; flags without a name change the value in the file.

    Raises:
        GraspPlannerError: the file is missing or is not TOML, it holds an unknown entry or an entry of another type, or
            the command line is wrong.
    """
    path = _path(arguments)
    if path is None:
        return parse(cls, arguments, command, choices)
    given, words = _read(cls, path, named), list(arguments)
    if named is not None and named.name in given:
        value, name = given.pop(named.name), str(path)

        def with_file(holder: type, hint: Any) -> Choice | None:
            choice = choices(holder, hint)
            if choice is None or holder is not cls:
                return choice
            option = Option(type(value), f"The settings in {name}.", value)
            return replace(choice, options={**choice.options, name: option})

        if not named.chosen(words):
            return parse(cls, [named.word(name), *words], command, with_file, given)
    return parse(cls, words, command, choices, given)


def write_config(path: Path, settings: Any, command: str, named: NamedField | None = None) -> Path:
    """Write all settings of a run as a configuration file, with which the same command makes the same run again.

    Settings whose value is ``None`` are left out: ``None`` is their default, too.
    """
    import tomli_w

    content: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if value is not None and one.name != FIELD:
            is_named = named is not None and one.name == named.name
            content[one.name] = named.write(value) if is_named and named is not None else to_json(value, DIGITS)
    text = f"# All settings of a run. To run it again: grasp {command} --config FILE\n{tomli_w.dumps(content)}"
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _path(words: Sequence[str]) -> Path | None:
    """Return the file that the words name; the last one, if there are several."""
    found = None
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == f"--{FIELD}" and (equals or i + 1 < len(words)):
            found = Path(value if equals else words[i + 1])
    return found


def _read(cls: type, path: Path, named: NamedField | None) -> dict[str, Any]:
    """Read the values of fields from a configuration file."""
    with reading(path, "configuration (TOML)"):
        text = read_text(path, MOST_TEXT)
        try:
            content: Mapping[str, Any] = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise broken(path, f"needed a configuration in TOML: {error}") from error
    hints = get_type_hints(cls)
    known = {one.name for one in fields(cls)} - {FIELD}  # type: ignore[arg-type]
    given = {}
    for name, value in content.items():
        if name not in known:
            raise broken(path, str(unknown_name("setting", name, known)))
        place = f"{path}, field {name!r}"
        if named is None or name != named.name:
            given[name] = from_json(hints[name], value, place)
            continue
        try:
            given[name] = named.read(value)
        except GraspPlannerError as error:
            raise GraspPlannerError(f"{place}: {error}") from error
    return given
