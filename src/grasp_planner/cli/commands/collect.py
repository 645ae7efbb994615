"""``grasp collect``: collect a data set in an environment with its scripted policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.parsing import POSITIONAL, parse


@dataclass(frozen=True)
class Collect:
    """Collect a data set in Minari's format, with several processes.

    If the command is stopped or killed, run it again: it continues where it stopped. The data depend neither on
    interruptions nor on the number of processes.

    Args:
        env: environment: push_t, wall, point_maze, ball_nav.
        episodes: number of episodes.
        out: a new or empty folder, or the folder of a collection that was stopped.
        steps: environment steps in each episode; None: the published number.
        pixels: side length of the pictures, 64 or 224; None: no pictures.
        every: environment steps per data step; 5 gives action blocks of 5, and one picture per block.
        seed: seed of the whole data set.
        workers: number of processes; None: one per core.
        policy: name of the scripted policy; None: the environment's default policy.
    """

    env: Annotated[str, POSITIONAL]
    episodes: int
    out: Path
    steps: int | None = None
    pixels: int | None = None
    every: int = 1
    seed: int = 0
    workers: int | None = None
    policy: str | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse(Collect, arguments, "collect")
    from grasp_planner.data.collecting import collect

    with (
        leaving_no_empty_folder(settings.out),
        hint_when_stopped(lambda: "run the same command again to continue where it stopped"),
    ):
        options = asdict(settings)
        collect(options.pop("env"), **options)
    print(f"{settings.out}: {settings.episodes:,} episodes; `grasp data info {settings.out}` shows their contents")
    return 0
