"""BallNav's world, version 1: a ball in a square room with thin walls. Maps, rules of motion, starts and goals.

The name BallNav stands in the GRASP paper's material without a definition; maps and dynamics here are ours.
"""

from __future__ import annotations

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, unknown_name

SIZE = 10.0  # m: the room is [0, SIZE] x [0, SIZE]
RADIUS = 0.5  # m, of the ball; also how near its middle must come to the goal
SOFTNESS = 0.05  # m: contact sets in over about this distance
TINY = 1e-3  # m: keeps the direction away from a wall defined for a ball that stands on it
OVERLAP = 0.01  # m that a ball may be nearer than touching: a soft contact leaves it out by less
PACE = 0.28  # m that the strongest push along an axis moves the ball in one step

MAPS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "cup": ((5.0, 3.0, 5.0, 7.0), (4.0, 3.0, 5.0, 3.0), (4.0, 7.0, 5.0, 7.0)),
    "wall": ((5.0, 2.0, 5.0, 8.0),),
    "hook": ((5.0, 2.5, 5.0, 10.0), (3.5, 2.5, 5.0, 2.5)),
    "slalom": ((3.5, 0.0, 3.5, 6.5), (6.5, 3.5, 6.5, 10.0)),
}
"""The walls of each map: ends (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1, in m.

- ``cup``: open towards the start. Pushing towards the goal ends inside it, and the way out leads back.
- ``wall``: free at both ends. Pushing towards the goal ends where the goal is nearest to the wall.
- ``hook``: like ``cup``, but one side reaches the border, so that there is one way round.
- ``slalom``: two walls from opposite borders; the shortest way bends twice, to opposite sides.

Maps of one version of the environment do not change.
"""
START_X, GOAL_X, ZONE_Y = (1.0, 2.5), (7.5, 9.0), (3.5, 6.5)  # m: where starts and goals are drawn


def walls_of(map: str) -> np.ndarray:
    """(w, 4) the walls of a map.

    Raises:
        GraspPlannerError: there is no such map.
    """
    if map not in MAPS:
        raise unknown_name("map", map, MAPS)
    return np.array(MAPS[map])


def checked_pace(pace: float) -> float:
    """`pace`, if no push within the bounds can carry the ball across a wall in one step.

    A step is at most sqrt(2) pace long, and a ball that touches a wall is RADIUS away from it.

    Raises:
        GraspPlannerError: it is not in (0, 0.9 RADIUS / sqrt(2)].
    """
    most = 0.9 * RADIUS / np.sqrt(2.0)
    if not 0.0 < pace <= most:
        raise GraspPlannerError(f"pace must be > 0 and <= {most:.3f} m, or a step could cross a wall; got {pace!r}")
    return float(pace)


def step_points(position: np.ndarray, push: np.ndarray, walls: np.ndarray, pace: float = PACE) -> np.ndarray:
    """Where balls are after one step.

        q = p + pace * push
        p' = q + sum_w soft(R - d_w) n_w + soft(R - q) - soft(R - (SIZE - q)),    soft(x) = c log(1 + exp(x / c))

    n_w / |n_w| points from the nearest point of wall w to q, d_w = sqrt(|n_w|^2 + TINY^2), R is RADIUS and c
    SOFTNESS; the last two terms are the room's border, coordinate by coordinate. So contact moves a ball whose
    middle would come closer than R out to that distance, along the wall's normal, and leaves motion along the wall
    alone. There is no inertia: friction stops the ball when the push ends. Everything is smooth wherever a ball
    can be, and nothing is random.

    Args:
        position: (..., 2) m, p.
        push: (..., 2), broadcast against `position`; each number in [-1, 1], or walls may be crossed.
        walls: (w, 4), from `walls_of`.
        pace: m per step.

    Returns:
        (..., 2) float64 m.

    >>> cup = walls_of("cup")
    >>> step_points(np.array([2.0, 5.0]), np.array([1.0, 0.0]), cup).round(6).tolist()  # free
    [2.28, 5.0]
    >>> step_points(np.array([4.48, 5.0]), np.array([1.0, 0.5]), cup).round(3).tolist()  # slides along the wall
    [4.5, 5.14]
    """
    moved = np.asarray(position, dtype=np.float64) + pace * np.asarray(push, dtype=np.float64)
    away = moved[..., None, :] - np.clip(moved[..., None, :], walls[:, :2], walls[:, 2:])
    distance = np.sqrt((away**2).sum(-1) + TINY**2)
    contact = (soft(RADIUS - distance) / distance)[..., None] * away
    return moved + contact.sum(-2) + soft(RADIUS - moved) - soft(moved - (SIZE - RADIUS))


def soft(depth: np.ndarray) -> np.ndarray:
    """max(depth, 0) with its corner rounded over SOFTNESS."""
    return SOFTNESS * np.logaddexp(0.0, depth / SOFTNESS)


def clearance(position: np.ndarray, walls: np.ndarray) -> np.ndarray:
    """(...) m from the middle of balls (..., 2) to the nearest wall or border; touching is RADIUS, outside negative."""
    position = np.asarray(position, dtype=np.float64)
    away = position[..., None, :] - np.clip(position[..., None, :], walls[:, :2], walls[:, 2:])
    border = np.minimum(position, SIZE - position).min(-1)
    return np.minimum(np.sqrt((away**2).sum(-1)).min(-1), border)


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """How far states (..., 2) are from goals (..., 2): ``position_m``, an array (...).

    >>> distances(np.array([3.0, 4.0]), np.zeros(2))["position_m"].item()
    5.0
    """
    difference = np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)
    return {"position_m": np.sqrt((difference**2).sum(-1))}


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Whether the ball covers the goal: its middle is less than its radius, 0.5 m, away. Bool (...)."""
    return distances(state, goal)["position_m"] < RADIUS


def sample_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A start and a goal (2,) on either side of the walls, so placed that the straight way is blocked on every map.

    x of the start in U(1, 2.5), of the goal in U(7.5, 9), both y in U(3.5, 6.5).

    >>> start, goal = sample_pair(np.random.default_rng(0))
    >>> bool(start[0] < 2.5 and goal[0] > 7.5)
    True
    """
    start = np.array([rng.uniform(*START_X), rng.uniform(*ZONE_Y)])
    return start, np.array([rng.uniform(*GOAL_X), rng.uniform(*ZONE_Y)])


def sample_free(rng: np.random.Generator, walls: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """A position (2,), uniform where the ball is free and at least `margin` m from touching anything."""
    while True:
        position = rng.uniform(RADIUS + margin, SIZE - RADIUS - margin, 2)
        if clearance(position, walls) >= RADIUS + margin:
            return position
