"""Scenes: outlines of a world from above, which figures can draw at any state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body that moves.

    Args:
        name: name of the body, for legends.
        outline: (p, 2) corners in the body's own frame.
        position: the two columns of the state that hold the place of the body's frame.
        angle: the column of the state that holds the frame's angle in rad; None: the body does not turn.
    """

    name: str
    outline: np.ndarray
    position: tuple[int, int]
    angle: int | None = None

    def at(self, states: np.ndarray) -> np.ndarray:
        """Return the outline (..., p, 2) in the world, for states (..., s)."""
        where = states[..., list(self.position)]
        turn = np.zeros(states.shape[:-1]) if self.angle is None else states[..., self.angle]
        cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
        x, y = self.outline[:, 0], self.outline[:, 1]
        return where[..., None, :] + np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)

    def path(self, states: np.ndarray) -> np.ndarray:
        """Return the mean (..., 2) of the outline's corners in the world, for states (..., s)."""
        return self.at(states).mean(-2)


@dataclass(frozen=True, eq=False)
class Scene:
    """The walls and bodies of a world.

    Args:
        view: left, right, bottom and top edge of the view; bottom > top if y points down.
        walls: fixed rectangles (x, y, width, height).
        bodies: the bodies that move, the largest first.
    """

    view: tuple[float, float, float, float]
    walls: tuple[tuple[float, float, float, float], ...]
    bodies: tuple[Body, ...]


def zoomed(whole: Scene, states: np.ndarray, margin: float = 0.08, least: float = 0.5) -> Scene:
    """Return the same scene with a smaller view around some states.

    Args:
        whole: the scene with the largest possible view.
        states: (n, s) states whose bodies must be in view.
        margin: free space around the bodies, as a share of the width of the whole view.
        least: least width of the new view, as a share of the width of the whole view.

    >>> whole = Scene(view=(0, 10, 0, 10), walls=(), bodies=(Body("dot", disc(0.5), (0, 1)),))
    >>> closer = zoomed(whole, np.array([[2.0, 2.0], [6.0, 3.0]]))
    >>> [round(edge, 1) for edge in closer.view]
    [0.7, 7.3, 0.0, 6.6]
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
    """Return the outline (32, 2) of a disc around the origin."""
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
