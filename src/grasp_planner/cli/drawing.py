"""The picture and the animation of a command, with a bar while they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from grasp_planner.core.errors import missing_extra

if TYPE_CHECKING:
    from grasp_planner.bench.running.planning_frames import Recording
    from grasp_planner.io.progress import Bars

Animation = Literal["mp4", "gif", "none"]
PICTURE, ANIMATION = "planning.png", "planning"


def check_drawing(animation: Animation) -> None:
    """Raise now, rather than after the work, where a package that draws is missing.

    Raises:
        MissingExtraError: one is not installed.
    """
    from importlib.util import find_spec

    drawn_with = {"mp4": ("imageio", "imageio_ffmpeg"), "gif": ("PIL",), "none": ()}
    for package in ("matplotlib", *drawn_with[animation]):
        if find_spec(package) is None:
            raise missing_extra(package.replace("_", "-"), "figures", "the picture and the animation")


def draw(recordings: Sequence[Recording], folder: Path, animation: Animation, bars: Bars) -> bool:
    """Write ``planning.png`` of all recordings and, unless told otherwise, the animation of the first.

    Nothing is written where there is no recording, or where nobody has said what the environment looks like.

    Returns:
        False: Ctrl-C was pressed meanwhile; what was finished stays.
    """
    from grasp_planner.domains.registry import SCENES
    from grasp_planner.figures.planning_animation import frame_count, planning_animation
    from grasp_planner.figures.planning_picture import planning_picture

    if not recordings or recordings[0].env not in SCENES:
        return True
    update = bars.task("drawing")
    try:
        planning_picture(recordings, folder / PICTURE)
        if animation != "none":
            total = frame_count(recordings[0])
            path = folder / f"{ANIMATION}.{animation}"
            planning_animation(recordings[0], path, progress=lambda number: update(number / total))
    except KeyboardInterrupt:
        return False
    update(1.0)
    return True
