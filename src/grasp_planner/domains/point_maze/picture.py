"""A top-down picture of PointMaze, drawn with numpy: it is fast, and a smooth function of the ball's position."""

from __future__ import annotations

import functools
import math

import numpy as np

from grasp_planner.domains.point_maze.mjcf import ORIGIN, wall_centres

VIEW_LOW, VIEW_HIGH = 1.0, 5.0  # world coordinates in view: the maze without the outer halves of its outer walls
DRAWN_RADIUS = 0.2  # m, as in the original's pictures; the ball of the physics is smaller
FLOOR, WALL, BALL = (240, 240, 240), (178, 128, 77), (30, 90, 40)


def top_down(state: np.ndarray, size: int) -> np.ndarray:
    """Draw the maze from above, with x to the right and y downwards as in DINO-WM's pictures, but closer.

    The ball's edge is anti-aliased: a pixel at distance d (in px) from the ball's centre has the ball's colour with
    the weight clip(r + 1/2 - d, 0, 1). Hence the picture changes smoothly with the position, even for moves of a
    hundredth of a pixel. The picture does not show the velocity.

    Args:
        state: (2,) or more: x and y of the ball; further numbers are ignored.
        size: side of the picture in px.

    Returns:
        (size, size, 3) uint8.

    >>> image = top_down(np.array([0.8, 0.8, 0.0, 0.0]), 64)
    >>> image[16, 16].tolist(), image[16, 2].tolist(), image[24, 48].tolist()  # ball, wall, floor
    ([30, 90, 40], [178, 128, 77], [240, 240, 240])
    """
    image = _maze(size).copy()
    scale = size / (VIEW_HIGH - VIEW_LOW)
    x, y = (float(state[i] + ORIGIN - VIEW_LOW) * scale - 0.5 for i in (0, 1))  # px; pixel centres are whole
    radius = DRAWN_RADIUS * scale
    columns, rows = _span(x, radius, size), _span(y, radius, size)
    squares_x = (np.arange(columns.start, columns.stop) - x) ** 2
    squares_y = (np.arange(rows.start, rows.stop) - y) ** 2
    away = np.sqrt(squares_y[:, None] + squares_x)
    share = np.minimum(np.maximum(radius + 0.5 - away, 0.0), 1.0)[..., None]
    under = image[rows, columns]
    image[rows, columns] = np.rint(under + share * (np.array(BALL, dtype=np.float64) - under))
    return image


def _span(middle: float, radius: float, size: int) -> slice:
    """Return the range of pixels that a ball may touch along one axis; empty if the ball is outside the picture."""
    start = min(max(math.floor(middle - radius - 0.5), 0), size)
    return slice(start, min(max(math.ceil(middle + radius + 0.5) + 1, start), size))


@functools.cache
def _maze(size: int) -> np.ndarray:
    """Draw the maze without the ball, as (size, size, 3) uint8."""
    at = VIEW_LOW + (np.arange(size) + 0.5) * (VIEW_HIGH - VIEW_LOW) / size
    wall = np.zeros((size, size), dtype=bool)
    for x, y in wall_centres():
        wall |= (np.abs(at[:, None] - y) < 0.5) & (np.abs(at - x) < 0.5)
    return np.where(wall[..., None], np.array(WALL, np.uint8), np.array(FLOOR, np.uint8))
