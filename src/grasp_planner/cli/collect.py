"""``grasp collect``: a data set from an environment and its scripted policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.parsing import command_class, parse, settings_from


@dataclass(frozen=True)
class Collect:
    """Collect a data set in Minari's format, with several processes.

    Run the same command again after a stop, even a kill, and it goes on where it stopped; nothing is lost or doubled,
    and the data depend on neither the stop nor the number of processes.

    Args:
        env: environment: push_t, wall, point_maze, ball_nav.
        episodes: how many.
        out: a new or empty folder, or that of a collection that was stopped.
        steps: environment steps in each episode; None: as published.
        pixels: side of pictures to draw, 64 or 224; None: no pictures.
        every: environment steps in a data step; 5 gives action blocks of 5, and a picture after each.
        seed: all episodes follow from it.
        workers: processes; None: one a core.
        policy: which scripted policy; None: the environment's own.
    """

    env: str
    episodes: int
    out: Path
    steps: int | None = None
    pixels: int | None = None
    every: int = 1
    seed: int = 0
    workers: int | None = None
    policy: str | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parsed: Any = parse(command_class(Collect, positional=("env",)), arguments, "collect")
    settings = settings_from(Collect, parsed)
    from grasp_planner.data.collecting import collect

    with (
        leaving_no_empty_folder(settings.out),
        hint_when_stopped("run the same command again, and it goes on where it stopped"),
    ):
        collect(
            settings.env,
            settings.episodes,
            settings.out,
            steps=settings.steps,
            pixels=settings.pixels,
            every=settings.every,
            seed=settings.seed,
            workers=settings.workers,
            policy=settings.policy,
        )
    print(f"{settings.out}: {settings.episodes:,} episodes; `grasp data info {settings.out}` says what is in them")
    return 0
