"""Errors for words of a command line that belong to no flag and to no choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import reduce
from typing import Any, get_type_hints

from grasp_planner.cli.choices import Choice, Choices
from grasp_planner.core.errors import GraspPlannerError, unknown_name


def unknown_words(words: Sequence[str], settings: Any, command: str, choices: Choices) -> GraspPlannerError:
    """Return the error for the first of the unknown words, with the nearest known word.

    Args:
        words: the words that tyro could not place.
        settings: the settings that tyro parsed from the other words.
        command: the command, such as ``"data info"``.
        choices: see ``parsing.parse``.
    """
    see = f"`grasp {command} --help` lists the options"
    flag, _, value = words[0].partition("=")
    path, colon, name = words[0].partition(":")
    if colon and (choice := _choice_at(path, settings, choices)) is not None:
        return unknown_name(choice.kind, name, choice.options)
    path = flag.removeprefix("--")
    if path != flag and _choice_at(path, settings, choices) is not None:
        name = value or (words[1] if len(words) > 1 else "NAME")
        return GraspPlannerError(f"unknown option {flag!r}: write {path}:{name}, and its flags after it; {see}")
    near = difflib.get_close_matches(flag, _flags(settings), n=1, cutoff=0.75) if flag.startswith("-") else []
    return GraspPlannerError(f"unknown option {flag!r}: {f'did you mean {near[0]!r}? ' if near else ''}{see}")


def _choice_at(path: str, settings: Any, choices: Choices) -> Choice | None:
    """Return the choice of the field at a path such as ``planner.first``, or ``None`` if there is none."""
    *outer, name = path.replace("-", "_").split(".")
    holder = reduce(lambda value, part: getattr(value, part, None), outer, settings)
    if not is_dataclass(holder) or name not in {one.name for one in fields(holder)}:
        return None
    return choices(type(holder), get_type_hints(type(holder), include_extras=True)[name])


def _flags(settings: Any, prefix: str = "--") -> Iterator[str]:
    """Yield the flags that set the fields of a dataclass instance."""
    for one in fields(settings):
        value, flag = getattr(settings, one.name), prefix + one.name.replace("_", "-")
        if is_dataclass(value):
            yield from _flags(value, f"{flag}.")
        else:
            yield flag
