"""The physics of Wall: where its walls are, how a dot moves, and how starts and goals are sampled."""

from __future__ import annotations

import numpy as np

from grasp_planner.core.errors import GraspPlannerError

# Positions are in px of a picture of 65 x 65 px: x counts columns and y counts rows, both from 0.
SIZE = 65
BORDER_LOW, BORDER_HIGH = 4.0, 60.0  # the four border lines
WALL_X = 32.0  # middle of the inner wall, which fills 29 <= x <= 35 outside the door
WALL_LEFT, WALL_RIGHT = 29.0, 35.0
DOOR_LOW, DOOR_HIGH = 26.0, 34.0  # y of the door in the inner wall
ROOM_LOW = np.array([[BORDER_LOW, BORDER_LOW], [WALL_RIGHT, BORDER_LOW]])  # of the left and the right room
ROOM_HIGH = np.array([[WALL_LEFT, BORDER_HIGH], [BORDER_HIGH, BORDER_HIGH]])

PIXELS_PER_ACTION = 2.0
BOUNCE = 0.5  # px that a dot moves back after a collision
CORNER_MARGIN = 0.3  # px from the edge, for a dot that would end on or beyond an edge after bouncing
MARGIN = 3.4  # px (two widths of the dot) between starts or goals and every wall


def step_points(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return the positions of dots after one step. A free dot moves from p to q = p + 2 a.

    Collisions follow two rules:

    1. *Door jamb.* If the move crosses y = 34 upwards (+y) at x in [29, 35], the dot ends at the crossing +
       (0.5, -0.5). If the move crosses y = 26 downwards (-y) at such an x, the dot ends at the crossing + (0.5, 0.5).
    2. *Box.* Otherwise the dot is in a box with top 4 and bottom 60. The left room (p_x < 32) has the sides 4 and 29,
       the right room the sides 35 and 60. The dot touches a side w if sign(p - w) sign(q - w) <= 0.1. A move that
       crosses the inner wall at y in [26, 34] goes through the door and does not touch it. The left side is tested
       before the right, the top before the bottom. If the dot touches both a side and the top or bottom, the crossing
       nearer to p decides; in a tie, the top or bottom decides. The dot ends at the crossing, moved by 0.5 back
       towards p across the wall and always by +0.5 along the wall. This position is clamped to the box, and a
       coordinate on an edge moves 0.3 inside.

    Actions are not clipped, and nothing is random.

    Args:
        position: (..., 2) p in px.
        action: (..., 2) a, broadcast against `position`; in the published data |a| is in [0.2, 1.8].

    Returns:
        (..., 2) float64 px.

    Source: DINO-WM's `wall` environment. Difference: the original divides by zero when a move without an x component
    touches a wall; here the rules above apply to such a move, too.

    >>> step_points(np.array([10.0, 10.0]), np.array([1.0, -0.5])).tolist()  # free
    [12.0, 9.0]
    >>> step_points(np.array([28.0, 50.0]), np.array([1.0, 0.0])).tolist()  # into the wall: moved back and along
    [28.5, 50.5]
    >>> step_points(np.array([28.0, 30.0]), np.array([1.0, 0.0])).tolist()  # through the door
    [30.0, 30.0]
    """
    start = np.asarray(position, dtype=np.float64)
    stop = start + PIXELS_PER_ACTION * np.asarray(action, dtype=np.float64)
    room = (start[..., 0] >= WALL_X).astype(np.intp)
    low, high = ROOM_LOW[room], ROOM_HIGH[room]
    if ((low < start) & (start < high) & (low < stop) & (stop < high)).all():
        return stop  # the common case: start and end are inside one convex room
    start = np.broadcast_to(start, stop.shape)
    jammed, after_jamb = _hit_jamb(start, stop)
    touched, after_box = _hit_box(start, stop, low, high)
    return np.where(jammed[..., None], after_jamb, np.where(touched[..., None], after_box, stop))


def sample_pair(rng: np.random.Generator | np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Sample a start and a goal (2,) in opposite rooms, from DINO-WM's distribution and in its order of draws.

    The start's x is from U(7.4, 25.6), the goal's x from U(38.4, 56.6), and both y are from U(7.4, 56.6). With
    probability 1/2 the two x are exchanged.

    >>> start, goal = sample_pair(np.random.RandomState(100))
    >>> bool((start[0] < 32) != (goal[0] < 32))
    True
    """
    low, high = BORDER_LOW + MARGIN, BORDER_HIGH - MARGIN
    x_start = rng.uniform(low, WALL_LEFT - MARGIN)
    x_goal = rng.uniform(WALL_RIGHT + MARGIN, high)
    y_start, y_goal = rng.uniform(low, high), rng.uniform(low, high)
    if rng.uniform(0, 1) < 0.5:
        x_start, x_goal = x_goal, x_start
    return np.array([x_start, y_start]), np.array([x_goal, y_goal])


def _hit_jamb(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether moves (..., 2) hit the upper or lower end of the door, and where these moves end."""
    up = (stop[..., 1] > DOOR_HIGH) & (start[..., 1] < DOOR_HIGH)
    down = (stop[..., 1] < DOOR_LOW) & (start[..., 1] > DOOR_LOW)
    y = np.where(up, DOOR_HIGH, DOOR_LOW)
    x = _crossing(start, stop, y, axis=1)
    hit = (up | down) & (x >= WALL_LEFT) & (x <= WALL_RIGHT)
    return hit, np.stack([x + BOUNCE, y + np.where(up, -BOUNCE, BOUNCE)], axis=-1)


def _hit_box(start: np.ndarray, stop: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether moves (..., 2) touch a side of their box from `low` to `high`, and where these moves end."""
    left_room = start[..., 0] < WALL_X
    y_left = _crossing(start, stop, low[..., 0], axis=0)
    y_right = _crossing(start, stop, high[..., 0], axis=0)
    at_left = _touches(start, stop, low[..., 0], axis=0) & (left_room | ~_in_door(y_left))
    at_right = _touches(start, stop, high[..., 0], axis=0) & (~left_room | ~_in_door(y_right))
    at_side = at_left | at_right
    side = np.stack([np.where(at_left, low[..., 0], high[..., 0]), np.where(at_left, y_left, y_right)], axis=-1)

    at_top = _touches(start, stop, low[..., 1], axis=1)
    at_level = at_top | _touches(start, stop, high[..., 1], axis=1)
    level_y = np.where(at_top, low[..., 1], high[..., 1])
    level = np.stack([_crossing(start, stop, level_y, axis=1), level_y], axis=-1)

    nearer_side = ((start - side) ** 2).sum(-1) < ((start - level) ** 2).sum(-1)
    take_side = at_side & (~at_level | nearer_side)
    back = BOUNCE * np.sign(start - np.where(take_side[..., None], side, level))
    along = np.full_like(left_room, BOUNCE, dtype=np.float64)
    end = np.where(
        take_side[..., None],
        side + np.stack([back[..., 0], along], axis=-1),
        level + np.stack([along, back[..., 1]], axis=-1),
    )
    end = np.where(end <= low, low + CORNER_MARGIN, np.where(end >= high, high - CORNER_MARGIN, end))
    return at_side | at_level, end


def _touches(start: np.ndarray, stop: np.ndarray, line: np.ndarray, axis: int) -> np.ndarray:
    """Return whether moves reach the line on which coordinate `axis` equals `line`, or start on the line."""
    return np.sign(start[..., axis] - line) * np.sign(stop[..., axis] - line) <= 0.1


def _crossing(start: np.ndarray, stop: np.ndarray, line: np.ndarray, axis: int) -> np.ndarray:
    """Return the other coordinate where moves cross the line; for moves along the line, the start's coordinate."""
    move = stop - start
    along = move[..., axis]
    part = np.divide(line - start[..., axis], along, out=np.zeros(along.shape), where=along != 0)
    return start[..., 1 - axis] + part * move[..., 1 - axis]


def _in_door(y: np.ndarray) -> np.ndarray:
    return (y >= DOOR_LOW) & (y <= DOOR_HIGH)


def checked_state(state: np.ndarray) -> np.ndarray:
    """Return a float64 copy of a state (2,).

    Raises:
        GraspPlannerError: the state has another shape, or the dot is not between the border lines.
    """
    state = np.array(state, dtype=np.float64)
    if state.shape != (2,) or not ((state >= BORDER_LOW) & (state <= BORDER_HIGH)).all():
        raise GraspPlannerError(f"a state is (x, y), shape (2,), both between the border lines 4 and 60; got {state!r}")
    return state
