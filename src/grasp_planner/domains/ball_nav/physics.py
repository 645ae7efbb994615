"""The physics of BallNav, version 1: maps, the motion of a ball among thin walls, and how states are sampled.

The GRASP paper's material mentions the name BallNav without a definition. The maps and dynamics here are ours.
"""

from __future__ import annotations

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, known_name

SIZE = 10.0  # m: the room is [0, SIZE] x [0, SIZE]
RADIUS = 0.5  # m, of the ball; the ball is at the goal if its centre is closer to the goal than this
SOFTNESS = 0.05  # m, the distance over which contact sets in
TINY = 1e-3  # m; keeps the direction away from a wall defined for a ball whose centre is on the wall
OVERLAP = 0.01  # m that a ball may overlap a wall; soft contact leaves a smaller overlap
PACE = 0.28  # m that the strongest push along an axis moves the ball in one environment step

MAPS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "cup": ((5.0, 3.0, 5.0, 7.0), (4.0, 3.0, 5.0, 3.0), (4.0, 7.0, 5.0, 7.0)),
    "wall": ((5.0, 2.0, 5.0, 8.0),),
    "hook": ((5.0, 2.5, 5.0, 10.0), (3.5, 2.5, 5.0, 2.5)),
    "slalom": ((3.5, 0.0, 3.5, 6.5), (6.5, 3.5, 6.5, 10.0)),
}
"""The walls of each map: ends (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1, in m.

- ``cup``: open towards the start. Pushing towards the goal ends inside the cup, and the path out leads back.
- ``wall``: free at both ends. Pushing towards the goal ends at the point of the wall that is nearest to the goal.
- ``hook``: like ``cup``, but one side reaches the border, so that only one path leads around.
- ``slalom``: two walls from opposite borders. The shortest path bends twice, to opposite sides.

Maps of one version of the environment do not change.
"""
START_X, GOAL_X, ZONE_Y = (1.0, 2.5), (7.5, 9.0), (3.5, 6.5)  # m: ranges of sampled starts and goals


def walls_of(map: str) -> np.ndarray:
    """Return the walls (w, 4) of a map, in m.

    Raises:
        GraspPlannerError: no map has that name.
    """
    return np.array(MAPS[known_name("map", map, MAPS)])


def checked_pace(pace: float) -> float:
    """Return `pace` if no push within the bounds can carry the ball across a wall in one step.

    A step is at most sqrt(2) pace long, and a ball that touches a wall is RADIUS away from it.

    Raises:
        GraspPlannerError: `pace` is not in (0, 0.9 RADIUS / sqrt(2)].
    """
    most = 0.9 * RADIUS / np.sqrt(2.0)
    if not 0.0 < pace <= most:
        raise GraspPlannerError(f"pace must be > 0 and <= {most:.3f} m, or a step could cross a wall; got {pace!r}")
    return float(pace)


def step_points(position: np.ndarray, push: np.ndarray, walls: np.ndarray, pace: float = PACE) -> np.ndarray:
    """Return the positions of balls after one environment step.

        q = p + pace * push
        p' = q + sum_w soft(R - d_w) r_w / d_w + soft(R - q) - soft(q - (SIZE - R)),    soft(x) = c log(1 + exp(x / c))

    The vector r_w points from the nearest point of wall w to q, d_w = sqrt(|r_w|^2 + TINY^2), R is RADIUS and c is
    SOFTNESS. The last two terms are the room's border, coordinate by coordinate. Contact moves a ball whose centre
    would come closer than R to a wall out to that distance, along the wall's normal. Motion along the wall is not
    affected. The ball has no inertia: friction stops it when the push ends. The dynamics are smooth wherever a ball can
    be, and nothing is random.

    Args:
        position: (..., 2) p in m.
        push: (..., 2), broadcast against `position`. Each number must be in [-1, 1], or walls may be crossed.
        walls: (w, 4) m, from `walls_of`.
        pace: m per environment step.

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
    """Return a smooth max(depth, 0), whose corner is rounded over a width of SOFTNESS."""
    return SOFTNESS * np.logaddexp(0.0, depth / SOFTNESS)


def clearance(position: np.ndarray, walls: np.ndarray) -> np.ndarray:
    """Return the distances (...) in m of balls' centres (..., 2) from the nearest wall or border; negative outside.

    A ball that touches a wall has the clearance RADIUS.
    """
    position = np.asarray(position, dtype=np.float64)
    away = position[..., None, :] - np.clip(position[..., None, :], walls[:, :2], walls[:, 2:])
    border = np.minimum(position, SIZE - position).min(-1)
    return np.minimum(np.sqrt((away**2).sum(-1)).min(-1), border)


def sample_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sample a start and a goal (2,) on either side of the walls. On every map walls block the straight path.

    The start's x is from U(1, 2.5), the goal's x from U(7.5, 9), and both y are from U(3.5, 6.5).

    >>> start, goal = sample_pair(np.random.default_rng(0))
    >>> bool(start[0] < 2.5 and goal[0] > 7.5)
    True
    """
    start = np.array([rng.uniform(*START_X), rng.uniform(*ZONE_Y)])
    return start, np.array([rng.uniform(*GOAL_X), rng.uniform(*ZONE_Y)])


def sample_free(rng: np.random.Generator, walls: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Sample a position (2,), uniform where the ball is at least `margin` m from touching a wall or the border."""
    while True:
        position = rng.uniform(RADIUS + margin, SIZE - RADIUS - margin, 2)
        if clearance(position, walls) >= RADIUS + margin:
            return position


def checked_state(state: np.ndarray, map: str) -> np.ndarray:
    """Return a float64 copy of a state (2,) on a map.

    Raises:
        GraspPlannerError: the state has another shape, a number is not finite, or the ball would overlap a wall.
    """
    state = np.array(state, dtype=np.float64)
    if state.shape != (2,) or not np.isfinite(state).all():
        raise GraspPlannerError(f"a state is (x, y), two finite numbers, shape (2,); got {state!r}")
    nearest = clearance(state, walls_of(map))
    if nearest < RADIUS - OVERLAP:
        raise GraspPlannerError(
            f"a state must be {RADIUS} m clear of the border (0 and {SIZE} m) and of the walls of {map!r}, "
            f"got {state.tolist()}, {nearest:.2f} m from the nearest"
        )
    return state
