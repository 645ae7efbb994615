"""Wall as DINO-WM has it: a dot in two rooms, a wall between them, one door. Numpy alone."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.wall.picture import picture

# The world is a picture of 65 x 65 px; x counts columns, y rows, both from 0.
SIZE = 65
BORDER_LOW, BORDER_HIGH = 4.0, 60.0  # the four border lines
WALL_X = 32.0  # middle of the inner wall, which fills 29 <= x <= 35 ...
WALL_LEFT, WALL_RIGHT = 29.0, 35.0
DOOR_LOW, DOOR_HIGH = 26.0, 34.0  # ... but for the door in it
ROOM_LOW = np.array([[BORDER_LOW, BORDER_LOW], [WALL_RIGHT, BORDER_LOW]])  # of the rooms left and right of it
ROOM_HIGH = np.array([[WALL_LEFT, BORDER_HIGH], [BORDER_HIGH, BORDER_HIGH]])

PIXELS_PER_ACTION = 2.0
BOUNCE = 0.5  # px a dot that hit something is put back
CORNER_MARGIN = 0.3  # px inside, for a dot that the bounce would leave on or over an edge
MARGIN = 3.4  # px (two widths of the dot) that starts and goals keep from every wall
TOLERANCE = 4.5  # px
PICTURE_SIZES = (64, 224)
STATE_NAMES = ("x", "y")


def step_points(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Where dots are after one step: q = p + 2 a, unless something is in the way.

    1. *Door jamb.* A move in +y across y = 34 (or in -y across y = 26) that crosses it at x in [29, 35] ends
       at the crossing + (0.5, -0.5) (or + (0.5, 0.5)).
    2. *Box.* Else the dot lives in a box with top and bottom 4 and 60, left 4 and right 29 if p_x < 32,
       left 35 and right 60 if not. A side w is touched if sign(p - w) sign(q - w) <= 0.1, unless it is the
       inner wall and the move crosses it at y in [26, 34], which is the door. Left is asked before right,
       top before bottom; of a side and a top or bottom that are both touched, the nearer crossing counts (a
       tie goes to top or bottom). The dot ends at the crossing + 0.5 back to p's side, and + 0.5 along the
       wall, always; that is clamped to the box, and a coordinate on an edge goes 0.3 inside.

    Nothing is clipped and nothing is random.

    Args:
        position: (..., 2) px, p.
        action: (..., 2), broadcast against `position`; the published data have |a| in [0.2, 1.8].

    Returns:
        (..., 2) float64 px.

    Source: DINO-WM's `wall` environment. Difference: a move with no x component, for which it divides by zero
    when such a move touches a wall, is treated as every other one.

    >>> step_points(np.array([10.0, 10.0]), np.array([1.0, -0.5])).tolist()  # free
    [12.0, 9.0]
    >>> step_points(np.array([28.0, 50.0]), np.array([1.0, 0.0])).tolist()  # into the wall: back and along
    [28.5, 50.5]
    >>> step_points(np.array([28.0, 30.0]), np.array([1.0, 0.0])).tolist()  # through the door
    [30.0, 30.0]
    """
    start = np.asarray(position, dtype=np.float64)
    stop = start + PIXELS_PER_ACTION * np.asarray(action, dtype=np.float64)
    room = (start[..., 0] >= WALL_X).astype(np.intp)
    low, high = ROOM_LOW[room], ROOM_HIGH[room]
    if ((low < start) & (start < high) & (low < stop) & (stop < high)).all():
        return stop  # most moves by far: inside a convex room nothing is touched
    start = np.broadcast_to(start, stop.shape)
    jammed, after_jamb = _hit_jamb(start, stop)
    touched, after_box = _hit_box(start, stop, low, high)
    return np.where(jammed[..., None], after_jamb, np.where(touched[..., None], after_box, stop))


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """How far states (..., 2) are from goals (..., 2): ``position_px``, the straight distance.

    >>> distances(np.array([3.0, 4.0]), np.zeros(2))["position_px"].item()
    5.0
    """
    difference = np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)
    return {"position_px": np.sqrt(difference[..., 0] ** 2 + difference[..., 1] ** 2)}


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Whether states (..., 2) are at their goals (..., 2): less than 4.5 px away. bool array.

    >>> success(np.array([[10.0, 14.4], [10.0, 14.5]]), np.array([10.0, 10.0])).tolist()
    [True, False]
    """
    return distances(state, goal)["position_px"] < TOLERANCE


class WallSingle(gymnasium.Env):
    """A dot moves through two rooms of a 65 x 65 px world, joined by one door, to a goal in the other room.

    **State** (2): x, y in px (y points down in pictures). **Proprioception**: the same. **Action** (2): the
    move, in units of 2 px. The action space is the range of the published data, [-1.8, 1.8]; actions are
    **not clipped**, as published. **Dynamics**: `step_points`. **Reward** 1.0 on success, else 0.0; an
    episode never terminates. **Info**: ``success`` and the `distances` to ``self.goal``; on reset also
    ``goal``.

    ``reset(seed=n)`` gives the very start and goal that the original gives for its seed n (they are drawn
    from ``RandomState(n mod 2^32)``); a reset without a seed goes on from the last one. Start and goal are
    always in opposite rooms. The shortest way between them is 40 px in the median, below 54 px for 95 % and 66 px
    at most. 25 steps of the data's mean length cover 50 px, which is enough for 88 % of the pairs; 25 of its
    longest cover 90 px.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224: observations also hold ``"pixels"``, see `wall_picture.picture`.

    Source: the `wall` environment of DINO-WM (arXiv 2411.04983), https://github.com/gaoyuezhou/dino_wm,
    with its ``wall_single`` layout. Differences: float64 (there float32 after a collision); the reward
    (there 0).

    >>> env = WallSingle()
    >>> observation, info = env.reset(seed=0, options={"state": np.array([10.0, 20.0])})
    >>> observation, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    >>> observation["state"].tolist(), terminated
    ([12.0, 20.0], False)
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    state_names: ClassVar[tuple[str, ...]] = STATE_NAMES
    action_limit: ClassVar[float] = 1.8

    def __init__(self, render_mode: str | None = None, pixels: int | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise GraspPlannerError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if pixels not in (None, *PICTURE_SIZES):
            raise GraspPlannerError(f"pixels must be None or one of {PICTURE_SIZES}, got {pixels!r}")
        self.render_mode = render_mode
        self.pixels = pixels
        parts: dict[str, spaces.Space] = {
            "state": spaces.Box(0.0, SIZE - 1.0, (2,), np.float64),
            "proprio": spaces.Box(0.0, SIZE - 1.0, (2,), np.float64),
        }
        if pixels is not None:
            parts["pixels"] = spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-self.action_limit, self.action_limit, (2,), np.float64)
        self.goal = np.zeros(2)
        self._state: np.ndarray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode from ``options["state"]`` to ``options["goal"]``; what is not given is sampled."""
        super().reset(seed=seed)
        options = options or {}
        known = {"state", "goal"}
        if not known.issuperset(options):
            raise GraspPlannerError(f"options may hold 'state' and 'goal', got {sorted(options)}")
        rng = self.np_random if seed is None else np.random.RandomState(seed % 2**32)
        state, goal = sample_pair(rng)
        self.set_state(options.get("state", state))
        self.goal = _checked_state(options.get("goal", goal))
        observation = self._observation()
        return observation, self._info(observation["state"]) | {"goal": self.goal.copy()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move by 2 px * action, an array (2,), as far as the walls allow: `step_points`."""
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise GraspPlannerError(f"an action is two finite numbers, shape (2,); got {action!r}")
        self._state = step_points(self.get_state(), action)
        info = self._info(self._state)
        return self._observation(), float(info["success"]), False, False, info

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """(2,) a published start: either room with equal chance, 3.4 px and more from every wall."""
        return sample_pair(rng)[0]

    def set_state(self, state: np.ndarray) -> None:
        """Put the dot at `state` (2,), exactly; anywhere between the border lines, x and y in [4, 60]."""
        self._state = _checked_state(state)

    def get_state(self) -> np.ndarray:
        """(2,) float64 px."""
        if self._state is None:
            raise GraspPlannerError("the environment has no state yet: call reset() or set_state() first")
        return self._state.copy()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The present picture (pixels, pixels, 3) uint8, 224 px unless `pixels` says otherwise."""
        if self.render_mode is None:
            return None
        return self.picture(self.get_state(), self.pixels or 224)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """(size, size, 3) uint8: any state drawn, without stepping. See `wall_picture.picture`."""
        return picture(state, size)

    @staticmethod
    def proprio_of(state: np.ndarray) -> np.ndarray:
        """(..., 2): the state itself."""
        return np.asarray(state).copy()

    def _observation(self) -> dict[str, np.ndarray]:
        state = self.get_state()
        observation = {"state": state, "proprio": self.proprio_of(state)}
        if self.pixels is not None:
            observation["pixels"] = self.picture(state, self.pixels)
        return observation

    def _info(self, state: np.ndarray) -> dict[str, Any]:
        measured = {name: float(value) for name, value in distances(state, self.goal).items()}
        return {"success": bool(success(state, self.goal)), **measured}


def sample_pair(rng: np.random.Generator | np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """A start and a goal (2,) in opposite rooms, by the published law and in its order of draws.

    x of one room in U(7.4, 25.6), of the other in U(38.4, 56.6), both y in U(7.4, 56.6); half of the time the
    two x are exchanged.

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
    """Which moves (..., 2) hit the upper or lower end of the door, and where they end."""
    up = (stop[..., 1] > DOOR_HIGH) & (start[..., 1] < DOOR_HIGH)
    down = (stop[..., 1] < DOOR_LOW) & (start[..., 1] > DOOR_LOW)
    y = np.where(up, DOOR_HIGH, DOOR_LOW)
    x = _crossing(start, stop, y, axis=1)
    hit = (up | down) & (x >= WALL_LEFT) & (x <= WALL_RIGHT)
    return hit, np.stack([x + BOUNCE, y + np.where(up, -BOUNCE, BOUNCE)], axis=-1)


def _hit_box(start: np.ndarray, stop: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which moves (..., 2) touch a side of their box `low`..`high`, and where they end."""
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
    """Whether moves reach the line where coordinate `axis` is `line`; a start on the line does."""
    return np.sign(start[..., axis] - line) * np.sign(stop[..., axis] - line) <= 0.1


def _crossing(start: np.ndarray, stop: np.ndarray, line: np.ndarray, axis: int) -> np.ndarray:
    """The other coordinate where moves cross the line; their start where they run along it."""
    move = stop - start
    along = move[..., axis]
    part = np.divide(line - start[..., axis], along, out=np.zeros(along.shape), where=along != 0)
    return start[..., 1 - axis] + part * move[..., 1 - axis]


def _in_door(y: np.ndarray) -> np.ndarray:
    return (y >= DOOR_LOW) & (y <= DOOR_HIGH)


def _checked_state(state: np.ndarray) -> np.ndarray:
    state = np.array(state, dtype=np.float64)
    if state.shape != (2,) or not ((state >= BORDER_LOW) & (state <= BORDER_HIGH)).all():
        raise GraspPlannerError(f"a state is (x, y), shape (2,), both between the border lines 4 and 60; got {state!r}")
    return state
