"""Geometry of the T in Push-T: its outline, distances from it, and paths of the pusher around it. Lengths in px."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grasp_planner.domains.push_t.physics import PUSHER_RADIUS

# The T in its own frame, as in `physics`. The bar has x in [-60, 60] and y in [0, 30], the stem x in [-15, 15] and y in
# [30, 120].
RECTANGLES = np.array([[[0, 15], [60, 15]], [[0, 75], [15, 45]]], dtype=np.float64)  # centre, half sizes
OUTLINE = np.array(
    [[-60, 0], [60, 0], [60, 30], [15, 30], [15, 120], [-15, 120], [-15, 30], [-60, 30]], dtype=np.float64
)
SIDES = ("bar top", "bar end +", "bar under +", "stem +", "stem end", "stem -", "bar under -", "bar end -")
CENTRE_OF_GRAVITY = np.array([0.0, 45.0])
MOMENT = 3000.0  # moment of inertia over mass, px^2
LOW, HIGH = 20.0, 491.0  # bounds of the pusher's centre, so that it is inside the walls at 5 and 506
CLEARANCE = PUSHER_RADIUS + 3.0  # distance of the pusher's centre from the T on a path
RING = OUTLINE + 28.0 * np.array([[-1, -1], [1, -1], [1, 1], [1, 1], [1, 1], [-1, 1], [-1, 1], [-1, 1]])


@dataclass(frozen=True)
class Pose:
    """The pose of the T.

    Args:
        origin: (2,) px, the middle of the bar's outer edge.
        angle: rad.
    """

    origin: np.ndarray
    angle: float

    def world(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2) from the T's frame to the window."""
        return self.origin + self.turned(points)

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """Map directions (..., 2) from the T's frame to the window."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return directions @ np.array([[cos, sin], [-sin, cos]])

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the distances (...) of points (..., 2) of the window from the T; negative inside the T."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        local = (points - self.origin) @ np.array([[cos, -sin], [sin, cos]])
        beyond = np.abs(local[..., None, :] - RECTANGLES[:, 0]) - RECTANGLES[:, 1]
        outside = np.sqrt((np.maximum(beyond, 0) ** 2).sum(-1))
        return (outside + np.minimum(beyond.max(-1), 0)).min(-1)


def sides() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start, end and inward unit normal (8, 2) of the T's sides in its frame, in the order of `SIDES`."""
    ends = np.roll(OUTLINE, -1, axis=0)
    along = ends - OUTLINE
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    return OUTLINE, ends, np.stack([-along[:, 1], along[:, 0]], axis=1)


def inside_window(points: np.ndarray) -> np.ndarray:
    """Return whether the pusher's centre may be at points (..., 2)."""
    return np.all((points >= LOW) & (points <= HIGH), axis=-1)


def shortest_paths(pose: Pose, start: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Return the shortest paths of the pusher from `start` to each of `ends`, through eight points around the T.

    Args:
        pose: pose of the T.
        start: (2,) px; the pusher may touch the T there.
        ends: (n, 2) px.

    Returns:
        The lengths (n,), inf where no path exists; and for each end the points on the path, including the end.
    """
    ring = pose.world(RING)
    nodes = np.concatenate([ring, start[None]])  # 8 + 1
    usable = np.append(inside_window(ring), True)
    between = _free_lengths(pose, nodes, nodes, start) + np.where(usable, 0, np.inf)
    to_ends = _free_lengths(pose, nodes, ends, start)

    length = between[-1].copy()
    length[-1] = 0.0
    before = np.full(9, 8)
    for _ in range(8):
        through = length[:, None] + between
        best = through.argmin(0)
        shorter = through[best, np.arange(9)] < length
        if not shorter.any():
            break
        before[shorter] = best[shorter]
        length = np.minimum(length, through[best, np.arange(9)])
    total = length[:, None] + to_ends
    last = total.argmin(0)
    return total.min(0), [[*_trace(before, nodes, node), end] for node, end in zip(last, ends)]


def _trace(before: np.ndarray, nodes: np.ndarray, node: int) -> list[np.ndarray]:
    points = []
    while node != 8:
        points.append(nodes[node])
        node = before[node]
    return points[::-1]


def _free_lengths(pose: Pose, starts: np.ndarray, ends: np.ndarray, pusher: np.ndarray) -> np.ndarray:
    """Return lengths (n, m) of straight lines from starts (n, 2) to ends (m, 2); inf where the T blocks them."""
    fractions = np.linspace(0, 1, 17)[:, None]
    lines = starts[:, None, None] + fractions * (ends[None, :, None] - starts[:, None, None])
    # a pusher that touches the T is closer than the clearance; it may move away, but not closer
    clearance = np.minimum(CLEARANCE, pose.distance(starts) - 1.0)[:, None]
    free = pose.distance(lines).min(-1) >= clearance
    return np.where(free, np.linalg.norm(ends[None] - starts[:, None], axis=-1), np.inf)
