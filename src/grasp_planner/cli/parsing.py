"""Parse the words of a command line to a dataclass, with tyro."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from grasp_planner.cli.choices import Choice, Choices, Option, no_choices
from grasp_planner.cli.unknown_words import unknown_words
from grasp_planner.core.errors import GraspPlannerError, plain_name

Settings = TypeVar("Settings")
WIDTH = 80  # of the description in a command's help
POSITIONAL = "positional"  # Annotated[str, POSITIONAL]: a field that is given by its position and not by a flag


def parse(
    cls: type[Settings],
    arguments: Sequence[str],
    command: str,
    choices: Choices = no_choices,
    given: Mapping[str, Any] | None = None,
) -> Settings:
    """Return an instance of a dataclass from the words of a command line.

    Every field is a flag, and every field of a nested dataclass is a flag, too. The ``Args:`` section of a dataclass'
    docstring is the help of its flags.

    Args:
        cls: the dataclass.
        arguments: the words after the command.
        command: the command, such as ``"data info"``, for help and errors; empty for all commands together.
        choices: a function that says which fields have named values.
        given: values that replace the defaults of fields, by name; flags override them.

    Raises:
        GraspPlannerError: a flag or name is unknown, or a dataclass rejects a value.
        SystemExit: after ``--help`` (status 0), or if a word has the wrong type (status 2; tyro prints the reason).

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Greeting:
        ...     name: str
        ...     times: int = 1
        >>> parse(Greeting, ["--name", "Ada", "--times", "2"], "greet")
        Greeting(name='Ada', times=2)
    """
    import tyro
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

    registry = ConstructorRegistry()

    @registry.struct_rule
    def of_dataclass(info: StructTypeInfo) -> StructConstructorSpec | None:
        kind = info.type
        if not isinstance(kind, type) or not is_dataclass(kind):
            return None
        hints, explained = get_type_hints(kind, include_extras=True), described_fields(kind)
        specs = []
        for one in fields(kind):
            default = getattr(info.default, one.name) if isinstance(info.default, kind) else _default_of(one)
            default = given.get(one.name, default) if given and kind is cls else default
            hint = _flag_type(one.name, hints[one.name], default, choices(kind, hints[one.name]))
            value = tyro.MISSING if default is MISSING else default
            specs.append(StructFieldSpec(one.name, hint, value, helptext=explained.get(one.name, "")))
        return StructConstructorSpec(instantiate=_builder(kind), fields=tuple(specs))

    config = (tyro.conf.CascadeSubcommandArgs, tyro.conf.HelptextFromCommentsOff)
    with registry:
        try:
            settings, unknown = tyro.cli(
                cls,
                prog=f"grasp {command}".strip(),
                description=_description(cls),
                args=_registered(arguments, _choice_names(cls, choices)),
                return_unknown_args=True,
                config=config,
            )
        except _RefusedError as refused:
            raise refused.reason from None
    if unknown:
        raise unknown_words(unknown, settings, command, choices)
    return settings


def _choice_names(cls: type, choices: Choices) -> dict[str, set[str]]:
    """Return the names that each field can be given, for the fields of a dataclass and of the dataclasses it names."""
    names: dict[str, set[str]] = {}
    left, seen = [cls], set[type]()
    while left:
        holder = left.pop()
        if holder in seen or not is_dataclass(holder):
            continue
        seen.add(holder)
        hints = get_type_hints(holder, include_extras=True)
        for one in fields(holder):
            if (choice := choices(holder, hints[one.name])) is not None:
                names.setdefault(one.name, set()).update(choice.options)
                left += [option.cls for option in choice.options.values()]
    return names


def _registered(words: Sequence[str], names: dict[str, set[str]]) -> list[str]:
    """Return the words with the registered spelling of every name in a word ``FIELD:NAME``."""
    found = []
    for word in words:
        path, colon, name = word.partition(":")
        known = names.get(path.rpartition(".")[2].replace("-", "_"), set()) if colon else set()
        spelt = {plain_name(one): one for one in known}
        spelling = name if name in known else spelt.get(plain_name(name), name)
        found.append(f"{path}:{spelling}" if colon else word)
    return found


class _RefusedError(Exception):
    """The error of a dataclass, in a type that tyro does not catch. Tyro would format a ``ValueError`` itself."""

    def __init__(self, reason: GraspPlannerError) -> None:
        self.reason = reason


def _builder(cls: type) -> Callable[..., Any]:
    def build(**values: Any) -> Any:
        try:
            return cls(**values)
        except GraspPlannerError as reason:
            raise _RefusedError(reason) from None

    return build


def _default_of(one: Any) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _flag_type(name: str, hint: Any, default: Any, choice: Choice | None) -> Any:
    """Return the type that tyro turns into the flags of a field."""
    import tyro

    # A planner file can nest planners in ways that no words can choose. Such a planner has flags, and no choice.
    chosen = choice is not None and type(default) in {one.cls for one in choice.options.values()}
    if choice is not None and (chosen or not is_dataclass(default)):
        named = any(one.defaults == default for one in choice.options.values())
        options = [
            Annotated[
                one.cls,
                tyro.conf.subcommand(word, default=_defaults(one, None if named else default), description=one.about),
            ]
            for word, one in choice.options.items()
        ]
        union = Union[tuple(options)]  # noqa: UP007  (the options are known at run time only)
        return union if choice.named else Annotated[union, tyro.conf.arg(name="")]
    if is_positional(hint):
        return Annotated[tyro.conf.Positional[get_args(hint)[0]], tyro.conf.arg(metavar=name.upper())]
    # A field for dataclasses of several types has the flags of the dataclass that it holds.
    return type(default) if is_dataclass(default) else hint


def is_positional(hint: Any) -> bool:
    """Return whether a field with this type hint is given by its position and not by a flag.

    >>> is_positional(Annotated[str, POSITIONAL]), is_positional(str)
    (True, False)
    """
    return get_origin(hint) is Annotated and POSITIONAL in get_args(hint)[1:]


def _defaults(option: Option, default: Any) -> Any:
    """Return the instance that an option's defaults come from, given the default of the field if it has no name."""
    import tyro

    if option.defaults is not None:
        return option.defaults
    return default if type(default) is option.cls else tyro.MISSING


def _description(cls: type) -> str:
    """Return the docstring of a dataclass up to its ``Args:``, as wide as tyro's help."""
    paragraphs = (cls.__doc__ or "").partition("\n    Args:")[0].strip().split("\n\n")
    return "\n\n".join(textwrap.fill(" ".join(one.split()), WIDTH) for one in paragraphs)


def described_fields(cls: type) -> dict[str, str]:
    """Return the text of each field in the ``Args:`` section of a dataclass' docstring.

    >>> from grasp_planner.cli.commands.check import CheckSettings
    >>> described_fields(CheckSettings)["device"]
    'where the model runs.'
    """
    section = re.search(r"\n *Args:\n(.*?)(?:\n\n|\n *[A-Z]\w+:\n|$)", cls.__doc__ or "", re.DOTALL)
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", section[1], re.MULTILINE) if section else []
    return {name: " ".join(text.split()).replace("``", "") for name, text in entries}
