"""Outlines of BallNav, as in its pictures: the border, the walls of the map ``cup``, and the ball."""

from __future__ import annotations

from grasp_planner.domains.ball_nav.physics import MAPS, RADIUS, SIZE
from grasp_planner.domains.ball_nav.picture import HALF_WALL
from grasp_planner.domains.scenes import Body, Scene, disc

_BORDER = (
    (0.0, 0.0, SIZE, HALF_WALL),
    (0.0, SIZE - HALF_WALL, SIZE, HALF_WALL),
    (0.0, 0.0, HALF_WALL, SIZE),
    (SIZE - HALF_WALL, 0.0, HALF_WALL, SIZE),
)
_CUP = tuple(
    (x0 - HALF_WALL, y0 - HALF_WALL, x1 - x0 + 2 * HALF_WALL, y1 - y0 + 2 * HALF_WALL) for x0, y0, x1, y1 in MAPS["cup"]
)

SCENE = Scene(
    view=(0, SIZE, 0, SIZE),
    walls=_BORDER + _CUP,
    bodies=(Body("ball", disc(RADIUS - HALF_WALL), (0, 1)),),
)
