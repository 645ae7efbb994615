"""Add names to tyro's description of a command line. The source of this module is a part of completion scripts.

The module imports the standard library only, since the program that completes words must start quickly and runs in any
Python.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def with_names(
    described: dict[str, Any],
    names: Mapping[str, Sequence[str]],
    words: Mapping[str, Sequence[str]],
    apart: Collection[str],
) -> dict[str, Any]:
    """Add names to a description in place, and return the description.

    tyro describes the flags of a command, but neither the names that a flag takes, nor words without a flag, nor that
    the flags of a command may also follow the name of a planner.

    Args:
        described: the description: a dictionary with the key ``"subcommands"``, whose values have the keys
            ``"options"`` and ``"subcommands"``.
        names: names that complete the value of a flag.
        words: names that complete the words of a command without a flag.
        apart: words after which the flags of the command are not valid.

    >>> plan = {"options": [{"flags": ["--task"], "type": "value"}], "subcommands": {}}
    >>> made = with_names({"subcommands": {"plan": plan}}, {"--task": ["wall"]}, {}, [])
    >>> made["subcommands"]["plan"]["options"][0]["choices"]
    ['wall']
    """
    for command, inner in described["subcommands"].items():
        # tyro completes the flags of an option literally, so names without dashes can be flags, too.
        found = {"flags": list(words.get(command, ())), "description": "name", "type": "flag"}
        _add(inner, [found], names, apart)
    return described


def _add(
    described: dict[str, Any], outer: Sequence[Any], names: Mapping[str, Sequence[str]], apart: Collection[str]
) -> None:
    own: set[str] = set()
    for option in described["options"]:
        own.update(option["flags"])
        for flag in option["flags"]:
            if flag in names:
                option.update(type="choice", choices=list(names[flag]))
    described["options"] += [option for option in outer if not own.intersection(option["flags"])]
    for word, inner in described["subcommands"].items():
        _add(inner, [] if word in apart else described["options"], names, apart)
