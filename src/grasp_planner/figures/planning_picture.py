"""Picture of an episode: the plan of each planner at three moments of planning, and its execution in the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.figures.panels import ExecutionPanel, PlanPanel, add_legend, outcome, stage_of
from grasp_planner.figures.style import FONT, GOAL, INK, new_figure, save_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grasp_planner.bench.running.planning_frames import Recording

ROWS, COLUMNS = 3, 4
CLOSER = 1 / 3  # the best cost at the middle moment is at most this share of the best cost at the first moment


def planning_picture(recordings: Sequence[Recording], path: str | Path) -> Path:
    """Write ``planning_figure`` as a PNG, atomically."""
    return save_picture(planning_figure(recordings), path)


def planning_figure(recordings: Sequence[Recording]) -> Figure:
    """Draw how an episode was planned and executed.

    Each row shows one recording at the three moments of ``telling_moments``, and its execution in the simulator.

    Args:
        recordings: one to three recordings of the same episode.

    Raises:
        GraspPlannerError: there is no recording, or there are more than three.
    """
    if not 1 <= len(recordings) <= ROWS:
        raise GraspPlannerError(f"a picture takes one to {ROWS} recordings, got {len(recordings)}")
    here = stage_of(recordings)
    wide, panel, gap, head, foot = 9.66, 2.34, 0.06, 0.28, 0.36  # inches
    high = len(recordings) * (panel + head) + foot
    figure = new_figure(wide, high)
    for row, recording in enumerate(recordings):
        bottom = high - (row + 1) * (panel + head)
        places = [
            figure.add_axes(((gap + column * (panel + gap)) / wide, bottom / high, panel / wide, panel / high))
            for column in range(COLUMNS)
        ]
        for axes, moment in zip(places, telling_moments(recording), strict=False):
            PlanPanel(axes, here, recording).show(moment)
            axes.set_title(f"{recording.planner}, step {recording.steps[moment]}", **_title(INK))
        ExecutionPanel(places[-1], here, recording).show(len(recording.executed) - 1)
        places[-1].set_title(outcome(recording), **_title(GOAL if recording.success else INK))
    add_legend(figure, [one.virtual is not None for one in recordings], loc="lower center", ncols=6)
    return figure


def telling_moments(recording: Recording) -> tuple[int, int, int]:
    """Return the indices of three recorded moments: the first, one at which the plan has come closer, and the last.

    The middle one is the first recorded moment at which the best cost is at most a third of its value at the first
    moment, or lower than that value if that value is not a positive number.
    """
    cost = recording.best_cost[np.minimum(recording.steps, len(recording.best_cost) - 1)]
    limit = CLOSER * cost[0] if 0 < cost[0] < np.inf else cost[0]
    closer = (cost <= limit) & (cost < cost[0])
    return 0, int(closer.argmax()), len(cost) - 1


def _title(colour: str) -> dict[str, Any]:
    return {"fontsize": FONT, "color": colour, "loc": "left", "pad": 4}
