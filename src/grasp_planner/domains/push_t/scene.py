"""Outlines of Push-T: the four walls, the block and the pusher."""

from __future__ import annotations

from grasp_planner.domains.push_t.geometry import OUTLINE
from grasp_planner.domains.push_t.physics import PUSHER_RADIUS, WALL_RADIUS, WALLS, WINDOW
from grasp_planner.domains.scenes import Body, Scene, disc

SCENE = Scene(
    view=(0, WINDOW, WINDOW, 0),
    walls=tuple(
        (
            min(x0, x1) - WALL_RADIUS,
            min(y0, y1) - WALL_RADIUS,
            abs(x1 - x0) + 2 * WALL_RADIUS,
            abs(y1 - y0) + 2 * WALL_RADIUS,
        )
        for (x0, y0), (x1, y1) in WALLS
    ),
    bodies=(Body("block", OUTLINE, (2, 3), 4), Body("pusher", disc(PUSHER_RADIUS), (0, 1))),
)
