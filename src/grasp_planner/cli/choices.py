"""Fields of settings whose values are chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """One of the named values of a field.

    Args:
        cls: the dataclass to build; ``NoneType`` for the value ``None``.
        about: description in the help.
        defaults: an instance whose values are the defaults; ``None``: the defaults of the dataclass.
    """

    cls: type
    about: str
    defaults: Any = None


@dataclass(frozen=True)
class Choice:
    """The named values of a field; a user chooses one by ``FIELD:NAME`` and changes its own fields by flags.

    Args:
        kind: what is chosen, for error messages.
        options: the values by name.
        named: whether the field's name is part of the words, as in ``planner:cem`` and ``--planner.samples``;
            if not, the words are ``NAME`` and ``--samples``.
    """

    kind: str
    options: Mapping[str, Option]
    named: bool = True


Choices = Callable[[type, Any], Choice | None]
"""A function of a dataclass and a field's type hint. It returns ``None`` if the field has no named values."""


def no_choices(holder: type, hint: Any) -> Choice | None:
    """Return ``None``: no field has named values."""
    return None
