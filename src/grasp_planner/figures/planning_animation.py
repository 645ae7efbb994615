"""Animation of an episode: planning on the left, execution on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grasp_planner.figures.animation_files import check_suffix, write_animation
from grasp_planner.figures.panels import CostPanel, ExecutionPanel, PlanPanel, add_legend, outcome, stage_of
from grasp_planner.figures.style import FONT, GOAL, INK, Stage, new_figure

if TYPE_CHECKING:
    from grasp_planner.bench.running.planning_frames import Recording

HELD = 10  # frames for which the finished plan and the last state are shown


def planning_animation(
    recording: Recording, path: str | Path, *, moments: int = 64, progress: Callable[[int], None] | None = None
) -> Path:
    """Write an animation of how an episode was planned and executed.

    Args:
        recording: a recording of ``bench.running.planning_frames``.
        path: a path that ends in ``.mp4`` or ``.gif``. The file is written atomically.
        moments: largest number of frames that show planning.
        progress: called after each frame, with the number of frames so far.

    Raises:
        GraspPlannerError: the path has another suffix.
        MissingExtraError: matplotlib, imageio or its ffmpeg is not installed.
    """
    path = Path(path)
    check_suffix(path)
    samples: list[np.ndarray] = []
    if path.suffix == ".gif":
        some = list(animation_frames(recording, 3))
        samples = [some[index] for index in (0, 1, 2, -3 * HELD, -1)]
    return write_animation(path, _counted(animation_frames(recording, moments), progress), samples)


def animation_frames(recording: Recording, moments: int = 64) -> Iterator[np.ndarray]:
    """Yield the frames (height, width, 3) uint8; height and width are even."""
    figure = new_figure(7.0, 5.2)
    here = stage_of([recording])
    plan_axes = figure.add_axes((0.015, 0.315, 0.48, 0.635))
    run_axes = figure.add_axes((0.505, 0.315, 0.48, 0.635))
    planned = PlanPanel(plan_axes, here, recording)
    executed = ExecutionPanel(run_axes, here, recording)
    cost = CostPanel(figure.add_axes((0.12, 0.1, 0.4, 0.185)), recording)
    lifted = recording.virtual is not None
    add_legend(figure, [lifted], loc="lower right", bbox_to_anchor=(0.995, 0.01), labelspacing=0.35)
    left = plan_axes.set_title("", fontsize=FONT + 1, color=INK, loc="left")
    right = run_axes.set_title("", fontsize=FONT + 1, color=INK, loc="left")
    stage = Stage(figure, [*planned.moving, *executed.moving, *cost.moving, left, right])

    chosen, last = chosen_moments(len(recording.steps), moments), len(recording.executed) - 1
    shown = [(moment, 0) for moment in chosen] + [(chosen[-1], 0)] * HELD
    shown += [(chosen[-1], step) for step in range(1, last + 1)] + [(chosen[-1], last)] * (2 * HELD)
    for moment, step in shown:
        planner_step = int(recording.steps[moment])
        planned.show(moment)
        cost.show(planner_step)
        executed.show(step)
        left.set_text(f"{recording.planner} in the model: step {planner_step}")
        right.set_text(
            f"The simulator: {outcome(recording)}" if step == last else f"The simulator: step {step} of {last}"
        )
        right.set_color(GOAL if step == last and recording.success else INK)
        yield stage.frame()


def frame_count(recording: Recording, moments: int = 64) -> int:
    """Return the number of frames of ``animation_frames``."""
    return len(chosen_moments(len(recording.steps), moments)) + 3 * HELD + len(recording.executed) - 1


def chosen_moments(count: int, most: int) -> list[int]:
    """Choose indices of moments to show: the first, the last, and others that are denser at the beginning.

    >>> chosen_moments(101, 5)
    [0, 12, 35, 65, 100]
    """
    spaced = (count - 1) * np.linspace(0, 1, min(most, count)) ** 1.5
    return np.unique(spaced.round().astype(int)).tolist()


def _counted(frames: Iterator[np.ndarray], progress: Callable[[int], None] | None) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames, start=1):
        yield frame
        if progress is not None:
            progress(number)
