"""Outlines of PointMaze: the wall blocks of the maze and the ball, in the coordinates of the state."""

from __future__ import annotations

from grasp_planner.domains.point_maze.mjcf import BALL_RADIUS, ORIGIN, wall_centres
from grasp_planner.domains.point_maze.picture import VIEW_HIGH, VIEW_LOW
from grasp_planner.domains.scenes import Body, Scene, disc

SCENE = Scene(
    view=(VIEW_LOW - ORIGIN, VIEW_HIGH - ORIGIN, VIEW_HIGH - ORIGIN, VIEW_LOW - ORIGIN),
    walls=tuple((x - 0.5 - ORIGIN, y - 0.5 - ORIGIN, 1.0, 1.0) for x, y in wall_centres()),
    bodies=(Body("ball", disc(BALL_RADIUS), (0, 1)),),
)
