"""DINO-WM's picture of Push-T, equal to the last bit: drawn on 512 x 512 px and shrunk to 224 x 224 px."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from grasp_planner.domains.push_t.physics import BAR, STEM, WALLS, contact_marks
from grasp_planner.domains.push_t.raster import blank, blend_line, discs, fill, polygons, thick_lines

CANVAS, SIZE = 512, 224
WHITE = (255, 255, 255)
GOAL = (144, 238, 144)
BLOCK, BLOCK_EDGE = (143, 163, 184), (119, 136, 153)
PUSHER, PUSHER_EDGE = (78, 126, 255), (65, 105, 225)
WALL = (211, 211, 211)
CONTACT = (231, 76, 60)
GOAL_POSE = (256.0, 256.0, np.pi / 4)  # a fixed landmark, not the task's goal


def published_picture(state: np.ndarray) -> np.ndarray:
    """Draw a state (7,) as DINO-WM's environment does; (224, 224, 3) uint8.

    In the original, pygame 2.5 draws on 512 x 512 px, with corners rounded to whole px. OpenCV then shrinks the picture
    bilinearly in fixed-point arithmetic, from four source pixels for each target pixel. Both rules are implemented
    here, so the picture depends on neither package. Small red lines mark contacts; they are an artefact of pymunk's
    debug drawing.

    Difference: if the block reaches beyond the canvas, its edges may be shifted by one px of 512.
    """
    state = np.asarray(state, dtype=np.float64)
    ground, small = _ground()
    canvas, picture = ground.copy(), small.copy()
    corners = [_corners(shape, state[2:5]) for shape in (BAR, STEM)]
    for points in corners:
        fill(canvas, polygons(points[None]), BLOCK)
        fill(canvas, _fat_lines(points, points[[1, 2, 3, 0]]), BLOCK_EDGE)
    pusher = np.rint(state[None, :2]).astype(np.int64)
    fill(canvas, discs(pusher, 15), PUSHER_EDGE)
    fill(canvas, discs(pusher, 11), PUSHER)
    changed = np.concatenate([*corners, pusher - 16, pusher + 16])
    low, high = changed.min(0) - 8, changed.max(0) + 8
    if low.min() < 8 or high.max() > CANVAS - 8:  # otherwise nothing was painted over the walls
        fill(canvas, _walls(), WALL)
    for start, end in np.rint(contact_marks(state)).astype(np.int64):
        blend_line(canvas, start, end, CONTACT)
    _shrink(canvas, picture, low, high)
    return picture


def _corners(shape: tuple[tuple[float, float], ...], pose: np.ndarray) -> np.ndarray:
    """Return the corners (4, 2) of a part of the T in whole px, in pymunk's order, which reverses `physics`."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    points = np.array(shape[::-1]) @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    return np.rint(points).astype(np.int64)


def _fat_lines(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the spans of n lines of radius 2 between points (n, 2), as in pymunk's pygame drawing.

    Each line of radius 2 consists of a thin line, a parallelogram and two discs.
    """
    across = np.abs((ends - starts)[:, ::-1])  # as in pymunk: the absolute values tilt the shape for some directions
    across = np.rint(across * (2 / np.hypot(across[:, 0], across[:, 1]))[:, None]).astype(np.int64)
    sides = np.stack([starts - across, starts + across, ends + across, ends - across], axis=1)
    return np.concatenate([thick_lines(starts, ends), polygons(sides), discs(starts, 2), discs(ends, 2)])


@lru_cache(maxsize=1)
def _walls() -> np.ndarray:
    return _fat_lines(*np.moveaxis(np.array(WALLS), 1, 0))


@lru_cache(maxsize=1)
def _ground() -> tuple[np.ndarray, np.ndarray]:
    """Return the canvas with landmark and walls, and the canvas shrunk to the size of the picture."""
    canvas, small = blank(CANVAS, WHITE), np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    for shape in (BAR, STEM):
        fill(canvas, polygons(_corners(shape, np.array(GOAL_POSE))[None]), GOAL)
    fill(canvas, _walls(), WALL)
    _shrink(canvas, small, np.array([0, 0]), np.array([CANVAS, CANVAS]))
    return canvas, small


@lru_cache(maxsize=1)
def _sources() -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pixel of the small picture, the first of two source pixels and the second's weight."""
    place = ((np.arange(SIZE) + 0.5) * (CANVAS / SIZE) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    return first, np.rint((place - first) * 2048).astype(np.int32)  # 11 bits, OpenCV's fixed point


def _shrink(canvas: np.ndarray, picture: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Shrink the part of `canvas` between `low` and `high` (x, y) bilinearly into the small picture."""
    first, weight = _sources()
    columns, rows = (slice(*np.searchsorted(first, (low[axis], high[axis]))) for axis in (0, 1))
    x, x_weight = first[columns], weight[columns, None]
    y, y_weight = first[rows], weight[rows, None, None]
    if not (len(x) and len(y)):
        return
    part = canvas[y[0] : y[-1] + 2, x[0] : x[-1] + 2, :3].astype(np.int32)
    x, y = x - x[0], y - y[0]
    mixed = ((2048 - x_weight) * part[:, x] + x_weight * part[:, x + 1]) >> 4
    picture[rows, columns] = (((2048 - y_weight) * mixed[y] >> 16) + (y_weight * mixed[y + 1] >> 16) + 2) >> 2
