"""``grasp data info`` and ``grasp data preview``: show the contents of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from grasp_planner.cli.folders import output_folder, write_json
from grasp_planner.cli.parsing import POSITIONAL, parse
from grasp_planner.cli.tables import consoles
from grasp_planner.core.errors import GraspPlannerError, known_name

USAGE = """usage: grasp data info PATH
       grasp data preview PATH [--out FILE.png | FILE.mp4 | FILE.gif]

info     print the number of episodes and steps, shapes, and statistics of every coordinate
preview  write a sheet of pictures, or an animation of an episode

`grasp data info --help` and `grasp data preview --help` list the options."""


@dataclass(frozen=True)
class Info:
    """Print the number of episodes and steps, shapes, and mean, standard deviation and range of every coordinate.

    The statistics are computed once and stored in the folder of the data.

    Args:
        path: folder of a data set in the format of Minari, LeRobot or DINO-WM, or the id of a Minari data set on this
            machine.
        out: JSON file for the same numbers; None: no file.
    """

    path: Annotated[Path, POSITIONAL]
    out: Path | None = None


@dataclass(frozen=True)
class Preview:
    """Write a sheet of pictures, or an animation of one episode if --out ends on .mp4 or .gif.

    The sheet shows evenly spaced times (columns) of evenly spaced episodes (rows).

    Args:
        path: folder of a data set in the format of Minari or DINO-WM.
        out: the file to write: .png for a sheet, .mp4 or .gif for an animation.
        episodes: maximum number of rows of a sheet.
        frames: number of columns of a sheet.
        episode: number of the episode of an animation, from 0.
        size: side length of a picture in px; None: as in the data.
    """

    path: Annotated[Path, POSITIONAL]
    out: Path = Path("preview.png")
    episodes: int = 6
    frames: int = 8
    episode: int = 0
    size: int | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    actions = {"info": _info, "preview": _preview}
    command = known_name("command", f"data {arguments[0]}", [f"data {name}" for name in actions])
    return actions[command.removeprefix("data ")](arguments[1:])


def _info(arguments: Sequence[str]) -> int:
    asked = parse(Info, arguments, "data info")
    console, _ = consoles()
    from rich.table import Table

    from grasp_planner.data.preview import info

    found = info(asked.path, progress=True)
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
    if asked.out is not None:
        statistics = [dict(zip(("key", "number", "mean", "std", "lowest", "highest"), row)) for row in found.numbers()]
        write_json(asked.out, {"schema": 1, "facts": dict(found.facts()), "statistics": statistics})
        console.print(f"written to {asked.out}")
    return 0


def _preview(arguments: Sequence[str]) -> int:
    preview = parse(Preview, arguments, "data preview")
    from grasp_planner.data.preview import contact_sheet, episode_pictures
    from grasp_planner.figures.animation_files import SUFFIXES, write_animation

    if preview.out.suffix.lower() != ".png" and preview.out.suffix not in SUFFIXES:
        raise GraspPlannerError(
            f"give --out a name that ends on .png (a sheet), .mp4 or .gif (an animation), got {preview.out}"
        )
    if preview.size is not None and preview.size < 1:
        raise GraspPlannerError(f"--size must be at least 1 px, got {preview.size}")
    with output_folder(preview.out.parent) as folder:
        if preview.out.suffix in SUFFIXES:
            pictures = episode_pictures(preview.path, preview.episode, size=preview.size, progress=True)
            write_animation(folder / preview.out.name, iter(pictures), pictures[:: 1 + len(pictures) // 8])
        else:
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
