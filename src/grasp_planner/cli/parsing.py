"""From words on a command line to dataclasses, by tyro."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass, make_dataclass
from dataclasses import field as new_field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

from grasp_planner.core.errors import GraspPlannerError, unknown_name

if TYPE_CHECKING:
    from grasp_planner.bench.tasks import Task

Settings = TypeVar("Settings")


def parse(cls: type[Settings], arguments: Sequence[str], command: str) -> Settings:
    """``arguments`` as an instance of a dataclass whose docstring explains its fields.

    Raises:
        SystemExit: after ``--help`` (status 0), or where words do not fit (status 2); tyro says why on stderr.
    """
    import tyro

    return tyro.cli(cls, prog=f"grasp {command}", args=list(arguments))


def command_class(
    cls: type, *, positional: Sequence[str] = (), more: Sequence[tuple[str, Any, Any]] = (), **defaults: Any
) -> type:
    """A dataclass for ``parse`` with the fields of ``cls``, explained by its docstring, and some more.

    Args:
        cls: a dataclass whose ``Args:`` explain its fields.
        positional: fields that are given by their place and not as flags.
        more: (name, annotation, default) of fields to add.
        defaults: other defaults than those of ``cls``.
    """
    import tyro

    explained, hints = described_fields(cls), get_type_hints(cls)
    entries: list[Any] = []
    for one in fields(cls):
        shown = one.name.upper() if one.name in positional else None
        default = defaults.get(one.name, one.default)
        # Where settings of several kinds may stand, those that do stand there have flags.
        kind = type(default) if is_dataclass(default) else hints[one.name]
        hint = Annotated[kind, tyro.conf.arg(help=explained.get(one.name, ""), metavar=shown)]
        if one.name in positional:
            hint = tyro.conf.Positional[hint]
        entries.append((one.name, hint) if default is MISSING else (one.name, hint, new_field(default=default)))
    made = make_dataclass(cls.__name__, [*entries, *more], frozen=True)
    made.__doc__ = cls.__doc__
    return made


def settings_from(cls: type[Settings], parsed: Any) -> Settings:
    """What was parsed into ``command_class(cls, ...)``, as ``cls``."""
    return cls(**{one.name: getattr(parsed, one.name) for one in fields(cls)})  # type: ignore[arg-type]


def described_fields(cls: type) -> dict[str, str]:
    """What the ``Args:`` section of a dataclass says of each field.

    >>> from grasp_planner import CEM
    >>> described_fields(CEM)["elites"]
    'how many the distribution is fitted to.'
    """
    section = re.search(r"\n *Args:\n(.*?)(?:\n\n|\n *[A-Z]\w+:\n|$)", cls.__doc__ or "", re.DOTALL)
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", section[1], re.MULTILINE) if section else []
    return {name: " ".join(text.split()).replace("``", "") for name, text in entries}


def word_after(arguments: Sequence[str], flag: str) -> str | None:
    """What stands after a flag, as ``--flag word`` or ``--flag=word``; the last one counts.

    >>> word_after(["--seed", "1", "--planner=cem"], "--planner"), word_after([], "--planner")
    ('cem', None)
    """
    found = None
    for i, argument in enumerate(arguments):
        if argument == flag and i + 1 < len(arguments):
            found = arguments[i + 1]
        elif argument.startswith(f"{flag}="):
            found = argument.partition("=")[2]
    return found


def task_called(name: str, horizon: int | None) -> Task:
    """A task by any unambiguous spelling: ``push-t`` and ``push_t/dset`` are ``push_t/dset/v1``.

    Where the goal source is left out it is ``dset``, whose goals can be reached.

    Raises:
        GraspPlannerError: there is no such task, or the horizon is not positive.
    """
    from grasp_planner.bench.tasks import TASKS, task

    spelt = {}
    for full in TASKS:
        env, source, version = full.split("/")
        spelt |= {_plain(full): full, _plain(f"{env}/{source}"): full}
        if source == "dset":
            spelt |= {_plain(env): full, _plain(f"{env}/{version}"): full}
    if _plain(name) not in spelt:
        raise unknown_name("task", name, [full.rpartition("/")[0] for full in TASKS])
    return task(spelt[_plain(name)], horizon)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").strip("/")


def check_device(name: str) -> None:
    """Raise unless something can be put on a device of that name.

    Raises:
        GraspPlannerError: there is no such device here.
    """
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise GraspPlannerError(f"no device {name!r} here ({reason}): give --device cpu, cuda, cuda:1, mps") from error


def check_show(show: int, episodes: int) -> None:
    """Raise unless there is an episode to show.

    Raises:
        GraspPlannerError: there are no episodes, or not that many.
    """
    if episodes < 1:
        raise GraspPlannerError(f"--episodes must be at least 1, got {episodes}")
    if not 0 <= show < episodes:
        raise GraspPlannerError(f"--show must be an episode from 0 to {episodes - 1}, got {show}")
