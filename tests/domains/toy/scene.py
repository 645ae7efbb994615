"""Outlines of Toy."""

from __future__ import annotations

from grasp_planner.domains.toy.physics import HEIGHT, LENGTH

from grasp_planner.domains.scenes import Body, Scene, disc

SCENE = Scene(
    view=(0, LENGTH, 0, 2 * HEIGHT),
    walls=((0.0, HEIGHT - 0.05, LENGTH, 0.1),),
    bodies=(Body("bead", disc(0.3), (0, 1)),),
)
