"""A top-down picture of PointMaze drawn with numpy alone: fast, and smooth in the ball's position."""

from __future__ import annotations

import functools
import math

import numpy as np

from grasp_planner.domains.point_maze.mjcf import ORIGIN, wall_centres

# World coordinates shown: the maze without the outer halves of its outer walls.
VIEW_LOW, VIEW_HIGH = 1.0, 5.0
BALL_RADIUS = 0.2  # as the original draws it; the ball that collides has 0.1
FLOOR, WALL, BALL = (240, 240, 240), (178, 128, 77), (30, 90, 40)


def top_down(state: np.ndarray, size: int) -> np.ndarray:
    """The maze from above, x to the right and y downwards, as in the original's pictures, but nearer.

    The ball's edge is anti-aliased: a pixel's share of the ball is clip(r + 1/2 - d, 0, 1) with d its
    distance from the ball's middle in px, so that a move of a hundredth of a pixel changes the picture, and
    smoothly. The velocity is not to be seen.

    Args:
        state: (2,) or more: x, y of the ball, then anything.
        size: of the picture, in px.

    Returns:
        (size, size, 3) uint8.

    >>> image = top_down(np.array([0.8, 0.8, 0.0, 0.0]), 64)
    >>> image[16, 16].tolist(), image[16, 2].tolist(), image[24, 48].tolist()  # ball, wall, floor
    ([30, 90, 40], [178, 128, 77], [240, 240, 240])
    """
    image = _maze(size).copy()
    scale = size / (VIEW_HIGH - VIEW_LOW)
    x, y = (float(state[i] + ORIGIN - VIEW_LOW) * scale - 0.5 for i in (0, 1))  # in px, pixel centres whole
    radius = BALL_RADIUS * scale
    columns, rows = _span(x, radius, size), _span(y, radius, size)
    squares_x = (np.arange(columns.start, columns.stop) - x) ** 2
    squares_y = (np.arange(rows.start, rows.stop) - y) ** 2
    away = np.sqrt(squares_y[:, None] + squares_x)
    share = np.minimum(np.maximum(radius + 0.5 - away, 0.0), 1.0)[..., None]
    under = image[rows, columns]
    image[rows, columns] = np.rint(under + share * (np.array(BALL, dtype=np.float64) - under))
    return image


def _span(middle: float, radius: float, size: int) -> slice:
    """The pixels that a ball may touch along one axis; empty where it is outside the picture."""
    start = min(max(math.floor(middle - radius - 0.5), 0), size)
    return slice(start, min(max(math.ceil(middle + radius + 0.5) + 1, start), size))


@functools.cache
def _maze(size: int) -> np.ndarray:
    """(size, size, 3) the maze without the ball."""
    at = VIEW_LOW + (np.arange(size) + 0.5) * (VIEW_HIGH - VIEW_LOW) / size
    wall = np.zeros((size, size), dtype=bool)
    for x, y in wall_centres():
        wall |= (np.abs(at[:, None] - y) < 0.5) & (np.abs(at - x) < 0.5)
    return np.where(wall[..., None], np.array(WALL, np.uint8), np.array(FLOOR, np.uint8))
