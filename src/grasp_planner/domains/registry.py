"""The table of worlds. A new world needs a folder next to this file, and one row in `DOMAINS` with its import."""

from __future__ import annotations

from collections.abc import Callable

from grasp_planner.core.errors import known_name
from grasp_planner.domains.ball_nav.task import BALL_NAV
from grasp_planner.domains.domain import Domain, Policy
from grasp_planner.domains.point_maze.task import POINT_MAZE
from grasp_planner.domains.push_t.task import PUSH_T
from grasp_planner.domains.scenes import Scene
from grasp_planner.domains.wall.task import WALL

DOMAINS: dict[str, Domain] = {
    "wall": WALL,
    "point_maze": POINT_MAZE,
    "push_t": PUSH_T,
    "ball_nav": BALL_NAV,
}
"""All worlds, by short name. The tables below, and the tasks of the benchmarks, are built from this table."""

ENVIRONMENTS: dict[str, str] = {domain.env: domain.entry_point for domain in DOMAINS.values()}
"""Gymnasium id without the namespace -> ``"module:class"``."""

POLICIES: dict[str, Callable[[], Policy]] = {
    name: policy
    for domain in DOMAINS.values()
    for name, policy in {domain.name: domain.policy, **domain.other_policies}.items()
}
"""Name of a scripted policy -> its class. A world's collecting policy has the world's name."""

SCENES: dict[str, Scene] = {domain.env: domain.scene for domain in DOMAINS.values()}
"""Gymnasium id without the namespace -> the outlines that figures draw."""


def scene(env: str) -> Scene:
    """The scene of an environment, by any spelling of its name.

    Raises:
        GraspPlannerError: no world has that name; the nearest name is suggested.

    >>> [body.name for body in scene("PushT-v1").bodies]
    ['block', 'pusher']
    """
    return SCENES[known_name("scene", env, SCENES, other_spellings())]


def other_spellings() -> dict[str, str]:
    """Further names of environments: the names of their worlds, and their Gymnasium ids without version.

    >>> other_spellings()["push_t"], other_spellings()["PushT"]
    ('PushT-v1', 'PushT-v1')
    """
    return {name: one.env for one in DOMAINS.values() for name in (one.name, one.env.partition("-")[0])}
