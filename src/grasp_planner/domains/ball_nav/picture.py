"""Anti-aliased pictures of BallNav, which change smoothly with the position of the ball."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.ball_nav.physics import RADIUS, SIZE

HALF_WALL = 0.1  # m: half the thickness of drawn walls; the drawn ball is smaller by it, so that both touch
GROUND, WALL, BALL, GOAL = (245, 245, 245), (60, 60, 70), (200, 40, 40), (120, 190, 120)
GOAL_LINE = 0.06  # m, half the width of the ring around the goal


def picture(state: np.ndarray, walls: np.ndarray, size: int = 224, goal: np.ndarray | None = None) -> np.ndarray:
    """Draw the room from above, with y upwards: walls, border and ball, and a ring around a given goal.

    A shape covers the share clip(1/2 - d, 0, 1) of a pixel, where d is the signed distance in px of the pixel's centre
    from the shape's edge.

    Args:
        state: (2,) m, the ball's position.
        walls: (w, 4) m.
        size: side of the picture in px, 16 to 1024.
        goal: (2,) m; None: no ring.

    Returns:
        (size, size, 3) uint8.

    Raises:
        GraspPlannerError: the size is out of range.

    >>> from grasp_planner.domains.ball_nav.physics import walls_of
    >>> image = picture(np.array([2.5, 7.5]), walls_of("cup"))
    >>> image[56, 56].tolist(), image[0, 0].tolist()  # ball, border
    ([200, 40, 40], [60, 60, 70])
    """
    if not 16 <= size <= 1024:
        raise GraspPlannerError(f"a picture has 16 to 1024 px a side, got {size}")
    x, y = _pixels(size)
    image = _ground(tuple(walls.ravel().tolist()), size).copy()
    px = size / SIZE
    if goal is not None:
        ring = np.abs(np.hypot(x - goal[0], y - goal[1]) - RADIUS) - GOAL_LINE
        _paint(image, ring * px, GOAL)
    _paint(image, (np.hypot(x - state[0], y - state[1]) - (RADIUS - HALF_WALL)) * px, BALL)
    return np.rint(image).astype(np.uint8)


def _paint(image: np.ndarray, edge: np.ndarray, colour: tuple[int, int, int]) -> None:
    share = np.clip(0.5 - edge, 0.0, 1.0)[..., None]
    image += share * (np.array(colour, dtype=np.float64) - image)


def _pixels(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of the pixels in m: x (1, size) and y (size, 1)."""
    middle = (np.arange(size) + 0.5) * SIZE / size
    return middle[None, :], middle[::-1, None]


@lru_cache(maxsize=16)
def _ground(walls: tuple[float, ...], size: int) -> np.ndarray:
    """Draw the room without the ball, as (size, size, 3) float."""
    x, y = _pixels(size)
    image = np.broadcast_to(np.array(GROUND, dtype=np.float64), (size, size, 3)).copy()
    border = np.minimum(np.minimum(x, SIZE - x), np.minimum(y, SIZE - y))
    _paint(image, (border - HALF_WALL) * size / SIZE, WALL)
    for x0, y0, x1, y1 in np.reshape(walls, (-1, 4)):
        away = np.hypot(x - np.clip(x, x0, x1), y - np.clip(y, y0, y1))
        _paint(image, (away - HALF_WALL) * size / SIZE, WALL)
    return image
