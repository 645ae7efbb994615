"""Shortest paths of the ball, by a visibility graph around the ends of the walls."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.ball_nav.physics import OVERLAP, RADIUS, SIZE, clearance, walls_of

MARGIN = 0.1  # m between the ball on a path and every wall, since contact is soft
SIDES = 16  # corners around the end of a wall
SLACK = 1e-9


def shortest_path(map: str, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the corners of the shortest path on which the ball stays at least 0.1 m from touching a wall.

    Around the end of a wall the path follows a polygon of 16 sides outside the circle. The path is at most 2 % longer
    than a path along an arc.

    Args:
        map: name in `physics.MAPS`.
        start: (2,) m.
        goal: (2,) m.

    Returns:
        (k, 2) m, from start to goal, including both.

    Raises:
        GraspPlannerError: no map has that name, no path exists, or start or goal is not free.

    >>> path = shortest_path("wall", np.array([2.0, 5.0]), np.array([8.0, 5.0]))
    >>> 8.5 < path_length(path) < 10.0  # the straight line through the wall has length 6
    True
    """
    corners, between, walls = _graph(map)
    start, goal = np.asarray(start, dtype=np.float64), np.asarray(goal, dtype=np.float64)
    for name, point in (("start", start), ("goal", goal)):
        if clearance(point, walls) < RADIUS - OVERLAP:
            raise GraspPlannerError(f"the {name} {point.tolist()} is not clear of the walls of the map {map!r}")
    points = np.concatenate([start[None], goal[None], corners])
    lengths = np.full((len(points), len(points)), np.inf)
    lengths[2:, 2:] = between
    for place, point in enumerate((start, goal)):
        lengths[place] = lengths[:, place] = _lengths(np.broadcast_to(point, points.shape), points, walls)
    order = _dijkstra(lengths)
    if order is None:
        raise GraspPlannerError(f"no path from {start} to {goal} on the map {map!r}")
    return points[order]


def path_length(path: np.ndarray) -> float:
    """Return the length in m of a path (k, 2)."""
    return float(np.sqrt((np.diff(path, axis=0) ** 2).sum(-1)).sum())


def path_steps(path: np.ndarray, pace: float) -> int:
    """Return the least number of environment steps for a path (k, 2). A push moves up to `pace` along each axis."""
    return int(np.ceil(np.abs(np.diff(path, axis=0)).max(-1).sum() / pace))


@lru_cache
def _graph(map: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the corners (c, 2) of paths, the lengths (c, c) of free lines between corners, and the walls (w, 4)."""
    walls = walls_of(map)
    ends = np.unique(np.concatenate([walls[:, :2], walls[:, 2:]]), axis=0)
    angle = (np.arange(SIDES) + 0.5) * 2 * np.pi / SIDES
    circle = (RADIUS + MARGIN) / np.cos(np.pi / SIDES) * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    corners = (ends[:, None] + circle).reshape(-1, 2)
    inside = (corners >= RADIUS + MARGIN).all(-1) & (corners <= SIZE - RADIUS - MARGIN).all(-1)
    corners = corners[inside & (_to_walls(corners, walls).min(-1) >= RADIUS + MARGIN - SLACK)]
    rows, columns = np.meshgrid(np.arange(len(corners)), np.arange(len(corners)), indexing="ij")
    return corners, _lengths(corners[rows], corners[columns], walls), walls


def _lengths(first: np.ndarray, second: np.ndarray, walls: np.ndarray) -> np.ndarray:
    """Return the lengths (...) of lines from `first` to `second` (..., 2); inf where a wall is too close.

    A line that begins or ends closer to a wall than the margin (a ball in contact) may stay at that distance.
    """
    nearest = np.minimum(_to_walls(first, walls), _to_walls(second, walls))
    allowed = np.minimum(nearest, RADIUS + MARGIN) - SLACK
    free = (_line_to_walls(first, second, walls, nearest) >= allowed).all(-1)
    return np.where(free, np.sqrt(((second - first) ** 2).sum(-1)), np.inf)


def _to_walls(points: np.ndarray, walls: np.ndarray) -> np.ndarray:
    """Return the distances (..., w) of points (..., 2) from the walls."""
    away = points[..., None, :] - np.clip(points[..., None, :], walls[:, :2], walls[:, 2:])
    return np.sqrt((away**2).sum(-1))


def _line_to_walls(first: np.ndarray, second: np.ndarray, walls: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the distances (..., w) between lines and walls.

    The distance is 0 if line and wall cross. Otherwise it is the smallest distance of one of the four ends from the
    other line. `nearest` (..., w) has the smallest distance of the ends of the lines from the walls.
    """
    line = (second - first)[..., None, :]
    for end in (walls[:, :2], walls[:, 2:]):
        share = ((end - first[..., None, :]) * line).sum(-1) / np.maximum((line**2).sum(-1), SLACK**2)
        foot = first[..., None, :] + np.clip(share, 0.0, 1.0)[..., None] * line
        nearest = np.minimum(nearest, np.sqrt(((end - foot) ** 2).sum(-1)))
    # A line crosses a wall if its ends are on different sides of the wall, and the wall's ends are on different sides
    # of the line.
    along = walls[:, 2:] - walls[:, :2]
    sides = _cross(along, first[..., None, :] - walls[:, :2]) * _cross(along, second[..., None, :] - walls[:, :2])
    ends = _cross(line, walls[:, :2] - first[..., None, :]) * _cross(line, walls[:, 2:] - first[..., None, :])
    return np.where((sides < 0) & (ends < 0), 0.0, nearest)


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def _dijkstra(lengths: np.ndarray) -> list[int] | None:
    """Return the indices of the points on the shortest path from point 0 to point 1; None if there is no path."""
    distance = np.full(len(lengths), np.inf)
    distance[0] = 0.0
    before = np.zeros(len(lengths), dtype=int)
    waiting = np.ones(len(lengths), dtype=bool)
    while True:
        here = int(np.where(waiting, distance, np.inf).argmin())
        if not waiting[here] or not np.isfinite(distance[here]):
            return None
        if here == 1:
            break
        waiting[here] = False
        through = distance[here] + lengths[here]
        shorter = through < distance
        distance[shorter], before[shorter] = through[shorter], here
    order = [1]
    while order[-1] != 0:
        order.append(int(before[order[-1]]))
    return order[::-1]
