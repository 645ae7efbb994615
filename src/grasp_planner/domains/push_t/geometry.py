"""Where the T of Push-T is, how far points are from it, and how to walk round it. Lengths in px."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The T in its own frame, as in the environment: bar x in [-60, 60], y in [0, 30]; stem x in [-15, 15], y to 120.
RECTANGLES = np.array([[[0, 15], [60, 15]], [[0, 75], [15, 45]]], dtype=np.float64)  # centre, half sizes
OUTLINE = np.array(
    [[-60, 0], [60, 0], [60, 30], [15, 30], [15, 120], [-15, 120], [-15, 30], [-60, 30]], dtype=np.float64
)
SIDES = ("bar top", "bar end +", "bar under +", "stem +", "stem end", "stem -", "bar under -", "bar end -")
CENTRE_OF_GRAVITY = np.array([0.0, 45.0])
MOMENT = 3000.0  # moment of inertia over mass, px^2
PUSHER_RADIUS = 15.0
LOW, HIGH = 20.0, 491.0  # where the pusher's centre may be: inside the walls at 5 and 506
CLEARANCE = 18.0  # of the pusher's centre from the T on the way round: touching is 15
RING = OUTLINE + 28.0 * np.array([[-1, -1], [1, -1], [1, 1], [1, 1], [1, 1], [-1, 1], [-1, 1], [-1, 1]])


@dataclass(frozen=True)
class Pose:
    """Where the T lies: `origin` (2,) is the middle of the bar's outer edge, `angle` in rad."""

    origin: np.ndarray
    angle: float

    def world(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the T's frame in the window."""
        return self.origin + self.turned(points)

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """Directions (..., 2) of the T's frame in the window."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return directions @ np.array([[cos, sin], [-sin, cos]])

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far points (..., 2) of the window are from the T; negative inside."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        local = (points - self.origin) @ np.array([[cos, -sin], [sin, cos]])
        beyond = np.abs(local[..., None, :] - RECTANGLES[:, 0]) - RECTANGLES[:, 1]
        outside = np.sqrt((np.maximum(beyond, 0) ** 2).sum(-1))
        return (outside + np.minimum(beyond.max(-1), 0)).min(-1)


def sides() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and inward unit normal (each (8, 2)) of the T's sides, in its frame, as in `SIDES`."""
    ends = np.roll(OUTLINE, -1, axis=0)
    along = ends - OUTLINE
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    return OUTLINE, ends, np.stack([-along[:, 1], along[:, 0]], axis=1)


def inside_window(points: np.ndarray) -> np.ndarray:
    """Whether the pusher's centre may be at points (..., 2)."""
    return np.all((points >= LOW) & (points <= HIGH), axis=-1)


def ways(pose: Pose, start: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """The shortest way of the pusher from `start` round the T to each of `ends`, over eight points about it.

    Args:
        pose: where the T lies.
        start: (2,), in px; may touch the T.
        ends: (n, 2).

    Returns:
        lengths (n,), inf where there is none, and for each end the points to pass, the end included.
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
    """(n, m) lengths of straight lines from starts (n, 2) to ends (m, 2), inf where the T is in the way."""
    fractions = np.linspace(0, 1, 17)[:, None]
    lines = starts[:, None, None] + fractions * (ends[None, :, None] - starts[:, None, None])
    # a pusher that touches the T is nearer than the clearance: it may leave, but not come nearer
    clearance = np.minimum(CLEARANCE, pose.distance(starts) - 1.0)[:, None]
    free = pose.distance(lines).min(-1) >= clearance
    return np.where(free, np.linalg.norm(ends[None] - starts[:, None], axis=-1), np.inf)
