"""The common style of all figures. Matplotlib's global state is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.core.errors import missing_extra
from grasp_planner.io.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

INK, FAINT, PAPER, PANEL = "#1f2933", "#7b8794", "#ffffff", "#f6f7f9"
WALL = "#c3cad3"
START, GOAL = "#8b95a1", "#1b9e4b"
PLANNED, EXECUTED = "#2458c5", "#e8590c"
FONT = 10.0  # points; pictures are 7 inches wide, so this size is readable on a phone
DPI = 120


def new_figure(width: float, height: float, dpi: int = DPI) -> Figure:
    """Make an empty white figure, drawn by Agg.

    Args:
        width: inches.
        height: inches.
        dpi: pixels per inch.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "figures", "a picture") from error
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


class Stage:
    """A figure in which only some artists move. The rest is drawn once, which makes frames ten times as fast.

    Args:
        figure: the complete figure, including the artists that move.
        moving: artists that change from frame to frame, in drawing order; they are drawn on top of the others.
    """

    def __init__(self, figure: Figure, moving: Sequence[Artist]) -> None:
        self.canvas: Any = figure.canvas
        self.moving = list(moving)
        for artist in self.moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(figure.bbox)

    def frame(self) -> np.ndarray:
        """Return the figure as it is now, (height, width, 3) uint8."""
        self.canvas.restore_region(self.still)
        renderer = self.canvas.get_renderer()
        for artist in self.moving:
            artist.draw(renderer)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a PNG atomically."""
    return write_atomically(Path(path), lambda part: figure.savefig(part, format="png"))
