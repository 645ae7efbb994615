"""Pictures of Push-T states: DINO-WM's picture at 224 px, and a smooth picture at any other size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.push_t.physics import PUSHER_RADIUS, WINDOW
from grasp_planner.domains.push_t.published import (
    BLOCK,
    BLOCK_EDGE,
    GOAL,
    GOAL_POSE,
    PUSHER,
    PUSHER_EDGE,
    SIZE,
    WALL,
    published_picture,
)

EDGE = 2.5  # px, half the width of the block's outline
FINE = 4  # samples per pixel and axis on the pusher's rim
# For the bar and the stem of the T: y of the middle, half sizes x and y, and the overlap of the stem's silhouette with
# the bar. Without the overlap the ground would show through between the two blurred borders.
PARTS = ((15.0, 60.0, 15.0, 0.0), (75.0, 15.0, 45.0, 30.0))


def picture(state: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Draw a state, with the fixed green T at (256, 256, pi/4) as a landmark.

    At 224 px the picture is DINO-WM's, equal to the last bit (see `published_picture`).

    At any other size each pixel is the mean colour of the scene over its square of the window. Shapes are at their
    exact places, not rounded to whole px, and the red contact marks are left out. Hence the brightness at an edge
    changes continuously when a shape moves (at 64 px by about 14 levels per px of the window), so the picture shows
    positions more precisely than one pixel. A picture of 64 px differs from block means of the drawing on 512 px by 0.2
    levels of 255 on average (root mean square 1.3).

    Args:
        state: (7,).
        size: side of the picture in px: 224, or any size from 16 to 512.

    Returns:
        (size, size, 3) uint8.

    Raises:
        GraspPlannerError: the size is out of range.
    """
    if not 16 <= size <= 512:
        raise GraspPlannerError(f"a picture has 16 to 512 px a side, got {size}")
    state = np.asarray(state, dtype=np.float64)
    return published_picture(state) if size == SIZE else _smooth_picture(state, size)


def _smooth_picture(state: np.ndarray, size: int) -> np.ndarray:
    step = WINDOW / size  # px of the window per pixel of the picture
    ground, unwalled, walls = _ground(size)
    image = ground.copy()
    _draw_tee(image, state[2:5], step, EDGE, (BLOCK_EDGE, BLOCK))
    _draw_pusher(image, state[:2], step)
    image *= unwalled
    image += walls
    return (image + 0.5).astype(np.uint8)


def _tee_extent(pose: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of x and of y that the T and its outline cover."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    corners = np.array([[-60, 0], [60, 0], [60, 30], [-60, 30], [-15, 120], [15, 120]])
    x, y = pose[0] + corners @ (cos, -sin), pose[1] + corners @ (sin, cos)
    reach = 2 * EDGE
    return (x.min() - reach, x.max() + reach), (y.min() - reach, y.max() + reach)


def _centres(low: float, high: float, step: float, size: int) -> tuple[slice, np.ndarray]:
    """Return the pixels of one axis that overlap [low, high], and their centres in px of the window.

    Whole coordinates are the centres of the window's px, so the first pixel begins at -0.5.
    """
    first = int(np.clip((low + 0.5) // step, 0, size))
    last = int(np.clip((high + 0.5) // step + 1, first, size))
    return slice(first, last), (np.arange(first, last, dtype=np.float32) + 0.5) * np.float32(step) - 0.5


def _covered(depth: np.ndarray, step: float) -> np.ndarray:
    """Return the covered share of a pixel of width `step`, if the shape's edge is `depth` px beyond the pixel's centre.

    This is exact for edges along an axis. For a slanted edge the true ramp is wider and rounded, with the same
    variance.
    """
    return np.clip(depth / step + 0.5, 0.0, 1.0)


def _draw_tee(image: np.ndarray, pose: np.ndarray, step: float, edge: float, colours: tuple) -> None:
    """Blend the T into the image. Its outline reaches `edge` px to both sides of its border."""
    (low_x, high_x), (low_y, high_y) = _tee_extent(pose)
    columns, x = _centres(low_x, high_x, step, len(image))
    rows, y = _centres(low_y, high_y, step, len(image))
    if not (len(x) and len(y)):
        return
    cos, sin = np.float32(np.cos(pose[2])), np.float32(np.sin(pose[2]))
    x, y = x - np.float32(pose[0]), (y - np.float32(pose[1]))[:, None]
    local_x, local_y = cos * x + sin * y, cos * y - sin * x
    outer, inner = np.zeros_like(local_x), np.zeros_like(local_x)
    for centre_y, half_x, half_y, overlap in PARTS:
        beyond_x, beyond_y = half_x - np.abs(local_x), half_y - np.abs(local_y - centre_y)
        inner += _covered(beyond_x - edge, step) * _covered(beyond_y - edge, step)
        if overlap:
            beyond_y = half_y + overlap / 2 - np.abs(local_y - centre_y + overlap / 2)
        np.maximum(outer, _covered(beyond_x + edge, step) * _covered(beyond_y + edge, step), out=outer)
    _blend(image[rows, columns], outer, inner, colours)


def _draw_pusher(image: np.ndarray, place: np.ndarray, step: float) -> None:
    reach = PUSHER_RADIUS + 1
    columns, x = _centres(place[0] - reach, place[0] + reach, step, len(image))
    rows, y = _centres(place[1] - reach, place[1] + reach, step, len(image))
    if not (len(x) and len(y)):
        return
    # a small disc needs finer sampling than a straight edge: FINE x FINE points per pixel
    fine = step / FINE
    within = ((np.arange(FINE, dtype=np.float32) + 0.5) / FINE - 0.5) * step
    # DINO-WM's disc of radius r covers the px from -r to r - 1, so its centre is half a px up and left
    x, y = (x[:, None] + within).ravel() - (place[0] - 0.5), (y[:, None] + within).ravel() - (place[1] - 0.5)
    radius = np.sqrt(x * x + (y * y)[:, None])
    outer, inner = (
        _covered(reach - radius, fine).reshape(len(y) // FINE, FINE, -1, FINE).mean((1, 3))
        for reach in (PUSHER_RADIUS, PUSHER_RADIUS - 4)
    )
    _blend(image[rows, columns], outer, inner, (PUSHER_EDGE, PUSHER))


def _blend(part: np.ndarray, outer: np.ndarray, inner: np.ndarray, colours: tuple) -> None:
    """Paint the first colour with the weights `outer` and the second with the weights `inner`, shares of a pixel."""
    edge, filling = np.array(colours, dtype=np.float32)
    part += outer[..., None] * (edge - part) + inner[..., None] * (filling - edge)


@lru_cache(maxsize=8)
def _ground(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the parts that do not move, each (size, size, 3).

    Returns:
        The white ground with the landmark, the share of each pixel outside the walls, and the walls' colour times the
        share inside the walls.
    """
    step = WINDOW / size
    _, place = _centres(0.0, WINDOW - 1, step, size)
    # walls at 5 and 506 reach 2.5 px to both sides: they fill the larger square outside the smaller one
    outer, inner = (_covered(half - np.abs(place - 255.5), step) for half in (253.0, 248.0))
    walls = (outer[:, None] * outer - inner[:, None] * inner)[..., None].astype(np.float32)
    image = np.full((size, size, 3), 255, dtype=np.float32)
    _draw_tee(image, np.array(GOAL_POSE), step, 0.5, (GOAL, GOAL))
    return image, np.repeat(1 - walls, 3, axis=2), walls * np.array(WALL, dtype=np.float32)
