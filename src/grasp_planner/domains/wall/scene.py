"""Outlines of Wall: the border lines, the inner wall with its door, and the dot."""

from __future__ import annotations

from grasp_planner.domains.scenes import Body, Scene, disc
from grasp_planner.domains.wall.physics import BORDER_HIGH, BORDER_LOW, DOOR_HIGH, DOOR_LOW, SIZE, WALL_LEFT, WALL_RIGHT
from grasp_planner.domains.wall.picture import DOT_WIDTH

EDGE = 0.5  # px: the centres of pixels have whole coordinates, so the picture reaches half a pixel beyond them

_BORDER = tuple(
    line
    for at in (BORDER_LOW - EDGE, BORDER_HIGH - EDGE)
    for line in ((-EDGE, at, float(SIZE), 1.0), (at, -EDGE, 1.0, float(SIZE)))
)
_THICKNESS = WALL_RIGHT - WALL_LEFT
_INNER_WALL = (
    (WALL_LEFT, -EDGE, _THICKNESS, DOOR_LOW + EDGE),
    (WALL_LEFT, DOOR_HIGH, _THICKNESS, SIZE - EDGE - DOOR_HIGH),
)

SCENE = Scene(
    view=(-EDGE, SIZE - EDGE, SIZE - EDGE, -EDGE),
    walls=_BORDER + _INNER_WALL,
    bodies=(Body("dot", disc(DOT_WIDTH), (0, 1)),),
)
