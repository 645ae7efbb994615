"""Picture of an episode: virtual states at three moments of planning, and executions in the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.figures.panels import CostPanel, ExecutionPanel, PlanPanel, add_legend, outcome, stage_of
from grasp_planner.figures.style import FONT, GOAL, INK, new_figure, save_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grasp_planner.bench.running.planning_frames import Recording

COLUMNS = 3


def planning_picture(recordings: Sequence[Recording], path: str | Path) -> Path:
    """Write ``planning_figure`` as a PNG, atomically."""
    return save_picture(planning_figure(recordings), path)


def planning_figure(recordings: Sequence[Recording]) -> Figure:
    """Draw how an episode was planned and executed.

    The upper row shows the first recording at three moments: its first step, the first plan that was better than the
    initial plan, and the end. The lower row shows the executions of all recordings in the simulator; if there is only
    one recording, its cost is shown as well.

    Args:
        recordings: one to three recordings of the same episode.

    Raises:
        GraspPlannerError: there is no recording, or there are more than three.
    """
    if not 1 <= len(recordings) <= COLUMNS:
        raise GraspPlannerError(f"a picture takes one to {COLUMNS} recordings, got {len(recordings)}")
    first, here = recordings[0], stage_of(recordings)
    figure = new_figure(7.0, 5.55)
    width, height = 0.322, 0.406  # of a square panel
    lefts, top, bottom = [0.008 + i * 0.331 for i in range(COLUMNS)], 0.545, 0.085
    for left, moment in zip(lefts, telling_moments(first), strict=True):
        axes = figure.add_axes((left, top, width, height))
        PlanPanel(axes, here, first).show(moment)
        axes.set_title(f"{first.planner}, step {first.steps[moment]}", fontsize=FONT, color=INK, loc="left", pad=4)
    for left, recording in zip(lefts, recordings, strict=False):
        axes = figure.add_axes((left, bottom, width, height))
        ExecutionPanel(axes, here, recording).show(len(recording.executed) - 1)
        colour = GOAL if recording.success else INK
        label = f"{recording.planner}: {outcome(recording)}"
        axes.set_title(label, fontsize=FONT - 1, color=colour, loc="left", pad=4)
    if len(recordings) == 1:
        cost = CostPanel(figure.add_axes((0.45, bottom + 0.1, 0.52, height - 0.12)), first)
        cost.show(first.steps[-1])
    lifted = first.virtual is not None
    add_legend(figure, lifted, loc="lower center", ncols=5, columnspacing=1.1, handletextpad=0.5, borderpad=0.2)
    return figure


def telling_moments(recording: Recording) -> tuple[int, int, int]:
    """Return the indices of three recorded moments: the first, the moment after the first improvement, and the last."""
    improved = (recording.best_cost[1:] < recording.best_cost[0]).nonzero()[0]
    step = int(improved[0]) + 1 if len(improved) else 0
    last = len(recording.steps) - 1
    middle = int(min((recording.steps >= step).argmax(), last))
    return 0, middle, last
