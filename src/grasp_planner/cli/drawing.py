"""The picture and the animation of a planning run, drawn under a progress bar."""

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
    """Raise before the work begins if a package that draws is missing.

    Raises:
        MissingExtraError: a package is not installed.
    """
    from importlib.util import find_spec

    drawn_with = {"mp4": ("imageio", "imageio_ffmpeg"), "gif": ("PIL",), "none": ()}
    for package in ("matplotlib", *drawn_with[animation]):
        if find_spec(package) is None:
            raise missing_extra(package.replace("_", "-"), "figures", "the picture and the animation")


def draw(recordings: Sequence[Recording], folder: Path, animation: Animation, bars: Bars) -> bool:
    """Write ``planning.png`` from all recordings and, unless it is disabled, the animation of the first recording.

    Nothing is written if there is no recording, or if the environment has no scene.

    Returns:
        ``False`` if Ctrl-C was pressed; files that were finished remain.
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
