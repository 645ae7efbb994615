"""``grasp data info`` and ``grasp data preview``: what a data set holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasp_planner.cli.folders import output_folder
from grasp_planner.cli.parsing import command_class, parse, settings_from
from grasp_planner.cli.tables import consoles
from grasp_planner.core.errors import GraspPlannerError, unknown_name

USAGE = """usage: grasp data info PATH
       grasp data preview PATH [--out FILE.png]

info     episodes, steps, shapes, and statistics of every number
preview  a sheet of pictures, a PNG

`grasp data info --help` and `grasp data preview --help` list the options."""


@dataclass(frozen=True)
class Info:
    """What a data set holds: episodes, steps, shapes, and mean, deviation and range of every number.

    Statistics are computed once and kept beside the data.

    Args:
        path: folder of a data set, in Minari's format or DINO-WM's, or the id of a Minari data set on this machine.
    """

    path: Path


@dataclass(frozen=True)
class Preview:
    """Write a sheet of pictures: evenly spaced moments (columns) of evenly spaced episodes (rows).

    Args:
        path: folder of a data set, in Minari's format or DINO-WM's.
        out: the PNG.
        episodes: rows, at most.
        frames: columns.
        size: side of a picture, in px; None: as it is.
    """

    path: Path
    out: Path = Path("preview.png")
    episodes: int = 6
    frames: int = 8
    size: int | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    actions = {"info": _info, "preview": _preview}
    if arguments[0] not in actions:
        raise unknown_name("command", f"data {arguments[0]}", [f"data {name}" for name in actions])
    return actions[arguments[0]](arguments[1:])


def _info(arguments: Sequence[str]) -> int:
    parsed: Any = parse(command_class(Info, positional=("path",)), arguments, "data info")
    console, _ = consoles()
    from rich.table import Table

    from grasp_planner.data.preview import info

    found = info(settings_from(Info, parsed).path, progress=True)
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in found.facts():
        facts.add_row(name, value)
    console.print(facts)
    numbers = Table("key", "number", title="statistics", title_justify="left")
    for heading in ("mean", "std", "lowest", "highest"):
        numbers.add_column(heading, justify="right")
    for key, name, *values in found.numbers():
        numbers.add_row(key, name, *(f"{value:.4g}" for value in values))
    console.print(numbers)
    return 0


def _preview(arguments: Sequence[str]) -> int:
    parsed: Any = parse(command_class(Preview, positional=("path",)), arguments, "data preview")
    preview = settings_from(Preview, parsed)
    if preview.out.suffix.lower() != ".png":
        raise GraspPlannerError(f"the sheet is a PNG: give --out a name that ends on .png, got {preview.out}")
    from grasp_planner.data.preview import contact_sheet

    with output_folder(preview.out.parent) as folder:
        contact_sheet(
            preview.path,
            folder / preview.out.name,
            episodes=preview.episodes,
            frames=preview.frames,
            size=preview.size,
            progress=True,
        )
    print(f"written to {preview.out}")
    return 0
