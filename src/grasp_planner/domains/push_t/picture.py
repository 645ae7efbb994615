"""Pictures of Push-T states: the published one at 224 px, a smooth one at any other size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.push_t.physics import PUSHER_RADIUS
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

WINDOW = 512.0
EDGE = 2.5  # half the width of the block's outline
FINE = 4  # samples per pixel and axis on the pusher's rim
# Bar and stem of the T: the middle's y, half sizes x and y, and how far the silhouette goes on under its neighbour
# (two blurred borders that only meet would let the ground shine through).
PARTS = ((15.0, 60.0, 15.0, 0.0), (75.0, 15.0, 45.0, 30.0))


def picture(state: np.ndarray, size: int = SIZE) -> np.ndarray:
    """(size, size, 3) uint8: a state (7,) drawn with the fixed green T at (256, 256, pi/4) as a landmark.

    At 224 px it is the published picture, the same to the last bit (see `published_picture`). At any other size
    it is what a camera with that many pixels would see of the same scene: every pixel is the mean colour over
    its square of the window, with shapes at their exact places (nothing is rounded to whole px) and without
    the red contact marks. So brightness at an edge changes steadily as things move, at 64 px by some 14 levels
    per px of the window, and positions can be read off far below the size of a pixel. Against block means of
    the drawing on 512 px, a picture of 64 px is 0.2 levels of 255 off on average, 1.3 root mean square.

    Args:
        state: (7,).
        size: 224, or any size from 16 to 512.

    Raises:
        GraspPlannerError: for another size.
    """
    if not 16 <= size <= 512:
        raise GraspPlannerError(f"a picture has 16 to 512 px a side, got {size}")
    state = np.asarray(state, dtype=np.float64)
    return published_picture(state) if size == SIZE else _smooth_picture(state, size)


def _smooth_picture(state: np.ndarray, size: int) -> np.ndarray:
    step = WINDOW / size  # px of the window per pixel
    ground, unwalled, walls = _ground(size)
    image = ground.copy()
    _draw_tee(image, state[2:5], step, EDGE, (BLOCK_EDGE, BLOCK))
    _draw_pusher(image, state[:2], step)
    image *= unwalled
    image += walls
    return (image + 0.5).astype(np.uint8)


def _tee_extent(pose: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of x and of y that the T covers, outline included."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    corners = np.array([[-60, 0], [60, 0], [60, 30], [-60, 30], [-15, 120], [15, 120]])
    x, y = pose[0] + corners @ (cos, -sin), pose[1] + corners @ (sin, cos)
    reach = 2 * EDGE
    return (x.min() - reach, x.max() + reach), (y.min() - reach, y.max() + reach)


def _centres(low: float, high: float, step: float, size: int) -> tuple[slice, np.ndarray]:
    """The pixels of one axis that see some of [low, high], and their centres in px of the window.

    Whole numbers are the middles of the window's px, so a pixel of `step` px begins half a px before one.
    """
    first = int(np.clip((low + 0.5) // step, 0, size))
    last = int(np.clip((high + 0.5) // step + 1, first, size))
    return slice(first, last), (np.arange(first, last, dtype=np.float32) + 0.5) * np.float32(step) - 0.5


def _covered(depth: np.ndarray, step: float) -> np.ndarray:
    """The share of a pixel `step` px wide that lies within an edge `depth` px beyond its centre.

    Exact for an upright edge. For a slanted one the true ramp is wider and rounded, with the same variance.
    """
    return np.clip(depth / step + 0.5, 0.0, 1.0)


def _draw_tee(image: np.ndarray, pose: np.ndarray, step: float, edge: float, colours: tuple) -> None:
    """Blend the T into the image; its outline reaches `edge` px to both sides of its border."""
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
    # a small round thing needs finer sampling than a straight edge: FINE x FINE points per pixel
    fine = step / FINE
    within = ((np.arange(FINE, dtype=np.float32) + 0.5) / FINE - 0.5) * step
    # the published disc of radius r covers the px from -r to r - 1: its middle is half a px up and left
    x, y = (x[:, None] + within).ravel() - (place[0] - 0.5), (y[:, None] + within).ravel() - (place[1] - 0.5)
    radius = np.sqrt(x * x + (y * y)[:, None])
    outer, inner = (
        _covered(reach - radius, fine).reshape(len(y) // FINE, FINE, -1, FINE).mean((1, 3))
        for reach in (PUSHER_RADIUS, PUSHER_RADIUS - 4)
    )
    _blend(image[rows, columns], outer, inner, (PUSHER_EDGE, PUSHER))


def _blend(part: np.ndarray, outer: np.ndarray, inner: np.ndarray, colours: tuple) -> None:
    """Paint one colour where `outer` and, in it, another where `inner`; both are shares of a pixel."""
    edge, filling = np.array(colours, dtype=np.float32)
    part += outer[..., None] * (edge - part) + inner[..., None] * (filling - edge)


@lru_cache(maxsize=8)
def _ground(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What does not move: white with the landmark, the share without walls, and the walls; (size, size, 3)."""
    step = WINDOW / size
    _, place = _centres(0.0, WINDOW - 1, step, size)
    # walls about 5 and 506 that reach 2.5 px to both sides: what is in the larger square and not in the smaller
    outer, inner = (_covered(half - np.abs(place - 255.5), step) for half in (253.0, 248.0))
    walls = (outer[:, None] * outer - inner[:, None] * inner)[..., None].astype(np.float32)
    image = np.full((size, size, 3), 255, dtype=np.float32)
    _draw_tee(image, np.array(GOAL_POSE), step, 0.5, (GOAL, GOAL))
    return image, np.repeat(1 - walls, 3, axis=2), walls * np.array(WALL, dtype=np.float32)
