"""Scenes: what an environment looks like from above, as outlines that can be drawn at any state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from grasp_planner.core.errors import unknown_name


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid thing that moves.

    Args:
        name: for legends.
        outline: (p, 2) corners in its own frame.
        position: the two columns of the state that say where its frame is.
        angle: the column that says how it is turned, in rad; ``None``: it does not turn.
    """

    name: str
    outline: np.ndarray
    position: tuple[int, int]
    angle: int | None = None

    def at(self, states: np.ndarray) -> np.ndarray:
        """(..., p, 2) the outline in the world, for states (..., s)."""
        where = states[..., list(self.position)]
        turn = np.zeros(states.shape[:-1]) if self.angle is None else states[..., self.angle]
        cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
        x, y = self.outline[:, 0], self.outline[:, 1]
        return where[..., None, :] + np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)

    def path(self, states: np.ndarray) -> np.ndarray:
        """(..., 2) the middle of the outline in the world, for states (..., s)."""
        return self.at(states).mean(-2)


@dataclass(frozen=True, eq=False)
class Scene:
    """What stands and what moves.

    Args:
        view: left, right, bottom, top of what is shown; bottom > top where y points down.
        walls: (x, y, width, height) rectangles that stand.
        bodies: what moves, the largest first.
    """

    view: tuple[float, float, float, float]
    walls: tuple[tuple[float, float, float, float], ...]
    bodies: tuple[Body, ...]


def scene(env: str) -> Scene:
    """The scene of an environment, by its name (``"PushT-v1"``).

    Raises:
        GraspPlannerError: there is none.

    >>> [body.name for body in scene("PushT-v1").bodies]
    ['block', 'pusher']
    """
    if env not in SCENES:
        raise unknown_name("scene", env, SCENES)
    return SCENES[env]


def zoomed(whole: Scene, states: np.ndarray, margin: float = 0.08, least: float = 0.5) -> Scene:
    """The same scene, shown only around some states.

    Args:
        whole: what can be seen at most.
        states: (n, s) states whose bodies must be in view.
        margin: left free around them, as a share of the whole view.
        least: share of the whole view, across, that is shown at least.

    >>> closer = zoomed(scene("WallSingle-v1"), np.array([[20.0, 20.0], [40.0, 30.0]]))
    >>> [round(edge, 1) for edge in closer.view]
    [13.1, 46.9, 41.9, 8.1]
    """
    left, right, bottom, top = whole.view
    corners = np.concatenate([body.at(states).reshape(-1, 2) for body in whole.bodies])
    low, high = corners.min(0), corners.max(0)
    edges = np.array([min(left, right), min(bottom, top)]), np.array([max(left, right), max(bottom, top)])
    across = float((edges[1] - edges[0]).min())
    side = float(np.clip((high - low).max() + 2 * margin * across, least * across, across))
    middle = np.clip((low + high) / 2, edges[0] + side / 2, edges[1] - side / 2)
    x, y = middle.tolist()
    half_x, half_y = np.sign(right - left) * side / 2, np.sign(top - bottom) * side / 2
    return replace(whole, view=(float(x - half_x), float(x + half_x), float(y - half_y), float(y + half_y)))


def disc(radius: float) -> np.ndarray:
    """(32, 2) the outline of a disc."""
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1)


# Push-T: the bar's outer edge lies on the x axis, the stem points along +y; lengths in px.
_TEE = np.array([(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], dtype=np.float64)
# PointMaze: the state's (0, 0) is (1.2, 1.2) of a map whose tiles have their middles at whole numbers.
_MAZE = ("#####", "#GOO#", "###O#", "#OOO#", "#####")
_TILES = tuple(
    (x + 0.5 - 1.2, y + 0.5 - 1.2, 1.0, 1.0) for x, row in enumerate(_MAZE) for y, t in enumerate(row) if t == "#"
)
# Wall: lines across the whole picture at 4 and 60, and the inner wall above and below its door.
_LINES = tuple(line for at in (3.5, 59.5) for line in ((-0.5, at, 65.0, 1.0), (at, -0.5, 1.0, 65.0)))
_INNER_WALL = ((29.0, -0.5, 6.0, 26.5), (29.0, 34.0, 6.0, 30.5))
# BallNav: the border and the cup are drawn 0.1 m to either side of where they are, and the ball smaller by as much.
_BORDER = ((0.0, 0.0, 10.0, 0.1), (0.0, 9.9, 10.0, 0.1), (0.0, 0.0, 0.1, 10.0), (9.9, 0.0, 0.1, 10.0))
_CUP = ((4.9, 2.9, 0.2, 4.2), (3.9, 2.9, 1.2, 0.2), (3.9, 6.9, 1.2, 0.2))

SCENES: dict[str, Scene] = {
    "PushT-v1": Scene(
        view=(0, 512, 512, 0),
        walls=((3, 3, 505, 4), (3, 504, 505, 4), (3, 3, 4, 505), (504, 3, 4, 505)),
        bodies=(Body("block", _TEE, (2, 3), 4), Body("pusher", disc(15.0), (0, 1))),
    ),
    "WallSingle-v1": Scene(
        view=(-0.5, 64.5, 64.5, -0.5),
        walls=_LINES + _INNER_WALL,
        bodies=(Body("dot", disc(1.7), (0, 1)),),
    ),
    "PointMaze-v1": Scene(
        view=(-0.2, 3.8, 3.8, -0.2),
        walls=_TILES,
        bodies=(Body("ball", disc(0.1), (0, 1)),),
    ),
    "BallNav-v1": Scene(
        view=(0, 10, 0, 10),
        walls=_BORDER + _CUP,
        bodies=(Body("ball", disc(0.4), (0, 1)),),
    ),
}
