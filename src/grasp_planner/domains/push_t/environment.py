"""Push-T as DINO-WM has it: a disc pushes a T to a goal pose, with relative actions and without inertia."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.push_t.physics import Simulation

STATE_NAMES = ("pusher_x", "pusher_y", "block_x", "block_y", "block_angle", "pusher_vx", "pusher_vy")
POSITION_TOLERANCE = 20.0  # px
ANGLE_TOLERANCE = np.pi / 9  # 20 degrees
FAR = 1e5  # bound of positions (px) and velocities (px/s): nothing holds the pusher inside the window
PICTURE_SIZES = (64, 224)


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """How far states are from goals, in px and degrees.

    Args:
        state: (..., 7).
        goal: (..., 7), broadcast against `state`.

    Returns:
        Arrays of the leading shape: ``position_px``, the norm of the four position differences of pusher and
        block together (what `success` judges); ``angle_deg``, the block's, in [0, 180]; and the parts
        ``pusher_px`` and ``block_px``.

    >>> goal = np.array([100.0, 100, 250, 250, 0.1, 0, 0])
    >>> distances(np.array([103.0, 104, 250, 250, 2 * np.pi - 0.1, 0, 0]), goal)["position_px"].item()
    5.0
    """
    state, goal = np.asarray(state, dtype=np.float64), np.asarray(goal, dtype=np.float64)
    square = (state[..., :4] - goal[..., :4]) ** 2
    pusher, block = square[..., 0] + square[..., 1], square[..., 2] + square[..., 3]
    return {
        "position_px": np.sqrt(pusher + block),
        "angle_deg": np.degrees(_angle_between(state[..., 4], goal[..., 4])),
        "pusher_px": np.sqrt(pusher),
        "block_px": np.sqrt(block),
    }


def success(state: np.ndarray, goal: np.ndarray, block_only: bool = False, symmetry: int = 1) -> np.ndarray:
    """Whether states are at their goals: ||(pusher, block) - goal|| < 20 px and |theta - goal| < pi/9.

    The velocity does not count. DINO-WM's rule, but angles wrap whatever their difference (theirs expects
    both in [0, 2 pi)).

    Args:
        state: (..., 7).
        goal: (..., 7), broadcast against `state`.
        block_only: judge the block's position and angle, wherever the pusher is. Easier, and not the
            published rule.
        symmetry: n counts angles modulo 2 pi / n, as stable-worldmodel does for blocks that look the same after an
            n-th of a turn. A T does so only after a whole turn (mirrored in its axis it lies at the *same* angle):
            1 is its own. 2 also accepts a T that is upside down, for tasks that need only its axis.

    Returns:
        bool array of the leading shape.

    >>> goal = np.array([100.0, 100, 250, 250, 0.1, 0, 0])
    >>> success(goal + [0, 0, 19, 0, 0, 0, 0], goal).item()
    True
    >>> success(goal + [30, 0, 0, 0, 0, 0, 0], goal).item()
    False
    >>> success(goal + [30, 0, 0, 0, 0, 0, 0], goal, block_only=True).item()
    True
    >>> success(goal + [0, 0, 0, 0, np.pi, 0, 0], goal, symmetry=2).item()
    True
    """
    state, goal = np.asarray(state, dtype=np.float64), np.asarray(goal, dtype=np.float64)
    first = 2 if block_only else 0
    distance = np.sqrt(((state[..., first:4] - goal[..., first:4]) ** 2).sum(-1))
    angle = _angle_between(state[..., 4], goal[..., 4], symmetry)
    return (distance < POSITION_TOLERANCE) & (angle < ANGLE_TOLERANCE)


class PushT(gymnasium.Env):
    """A disc pushes a T-shaped block in a 512 x 512 px window (y points down) until both are as in the goal.

    **State** (7): pusher x, y; block x, y, theta in [0, 2 pi]; pusher vx, vy (px, rad, px/s). Block x, y is
    the middle of the bar's outer edge, not the centre of gravity. **Proprioception** (4): pusher x, y, vx,
    vy.
    **Action** (2): the pusher's target relative to where it is, in units of 100 px. Within a step (0.1 s) the
    PD controller brings a resting pusher 30 % of the way. The action space names the nominal range [-1, 1];
    actions are **not clipped**, as published. **Reward** 1.0 on success, else 0.0; an episode never
    terminates. **Info**: ``success`` and the `distances` to ``self.goal``; on reset also ``goal``.

    The block has no friction and no inertia: it moves only while pushed. The pusher is kinematic, so neither
    block nor walls stop it; it can leave the window.

    `set_state` builds the world afresh, sets the angle, then the position, and makes one physics step of
    0.01 s, so a pusher with velocity v starts at p + 0.01 v and overlapping bodies are pushed a little apart.
    Hence ``set_state(get_state())`` is close to the identity but not it: contact impulses are not part of the
    seven numbers. Two environments given the same state and actions agree exactly.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224: observations also hold ``"pixels"``, see `picture`.
        symmetry: of the success rule, see `success`; 1 is the published one.

    Raises:
        GraspPlannerError: a setting is none of these.

    Source: DINO-WM (arXiv 2411.04983), https://github.com/gaoyuezhou/dino_wm; trajectories agree to the last
    bit. Differences: observed states are float64 (there float32); the reward (there the coverage of the fixed
    green T, which is not the goal); random states come from a numpy Generator (same law).

    >>> env = PushT()
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(np.array([0.5, 0.0]))
    >>> observation["state"].shape, observation["proprio"].shape, terminated
    ((7,), (4,), False)
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    state_names: ClassVar[tuple[str, ...]] = STATE_NAMES
    action_limit: ClassVar[float] = 1.0

    def __init__(self, render_mode: str | None = None, pixels: int | None = None, symmetry: int = 1) -> None:
        if symmetry < 1:
            raise GraspPlannerError(f"symmetry must be a whole number of at least 1, got {symmetry!r}")
        self.symmetry = symmetry
        if render_mode not in (None, "rgb_array"):
            raise GraspPlannerError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if pixels not in (None, *PICTURE_SIZES):
            raise GraspPlannerError(f"pixels must be None or one of {PICTURE_SIZES}, got {pixels!r}")
        self.render_mode = render_mode
        self.pixels = pixels
        low = np.array([-FAR, -FAR, -FAR, -FAR, 0, -FAR, -FAR])
        high = np.array([FAR, FAR, FAR, FAR, 2 * np.pi, FAR, FAR])
        parts: dict[str, spaces.Space] = {
            "state": spaces.Box(low, high, dtype=np.float64),
            "proprio": spaces.Box(self.proprio_of(low), self.proprio_of(high), dtype=np.float64),
        }
        if pixels is not None:
            parts["pixels"] = spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-self.action_limit, self.action_limit, (2,), np.float64)
        self.goal = np.zeros(7)
        self._simulation: Simulation | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode from ``options["state"]`` to ``options["goal"]``; what is not given is sampled."""
        super().reset(seed=seed)
        options = options or {}
        known = {"state", "goal"}
        if not known.issuperset(options):
            raise GraspPlannerError(f"options may hold 'state' and 'goal', got {sorted(options)}")
        state, goal = options.get("state"), options.get("goal")
        state = self.sample_state(self.np_random) if state is None else _checked_state(state)
        self.goal = self.sample_state(self.np_random) if goal is None else _checked_state(goal)
        self.set_state(state)
        observation = self._observation()
        return observation, self._info(observation["state"]) | {"goal": self.goal.copy()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move for 0.1 s towards the pusher's position + 100 px * action, an array (2,)."""
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise GraspPlannerError(f"an action is two finite numbers, shape (2,); got {action!r}")
        self._running().step(*action.tolist())
        observation = self._observation()
        info = self._info(observation["state"])
        return observation, float(info["success"]), False, False, info

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """(7,) the published law: pusher {50..449}^2, block {100..399}^2, theta = 2 pi n - pi, at rest."""
        pusher, block = rng.integers(50, 450, size=2), rng.integers(100, 400, size=2)
        theta = (2 * np.pi * rng.standard_normal() - np.pi) % (2 * np.pi)
        return np.array([*pusher, *block, theta, 0.0, 0.0])

    def set_state(self, state: np.ndarray) -> None:
        """Put the world into `state` (7,) and make one physics step of 0.01 s; see the class."""
        self._simulation = Simulation(_checked_state(state))

    def get_state(self) -> np.ndarray:
        """(7,) float64, see the class."""
        return self._running().state()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The present picture (pixels, pixels, 3) uint8, 224 px unless `pixels` says otherwise."""
        if self.render_mode is None:
            return None
        return self.picture(self.get_state(), self.pixels or 224)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """(size, size, 3) uint8: any state drawn, without stepping. See `push_t_picture.picture`."""
        from grasp_planner.domains.push_t.picture import picture

        return picture(state, size)

    @staticmethod
    def proprio_of(state: np.ndarray) -> np.ndarray:
        """(..., 4) pusher x, y, vx, vy of states (..., 7)."""
        state = np.asarray(state)
        return state[..., [0, 1, 5, 6]]

    def _running(self) -> Simulation:
        if self._simulation is None:
            raise GraspPlannerError("the environment has no state yet: call reset() or set_state() first")
        return self._simulation

    def _observation(self) -> dict[str, np.ndarray]:
        state = self._running().state()
        observation = {"state": state, "proprio": self.proprio_of(state)}
        if self.pixels is not None:
            observation["pixels"] = self.picture(state, self.pixels)
        return observation

    def _info(self, state: np.ndarray) -> dict[str, Any]:
        measured = {name: float(value) for name, value in distances(state, self.goal).items()}
        return {"success": bool(success(state, self.goal, symmetry=self.symmetry)), **measured}


def _angle_between(one: np.ndarray, other: np.ndarray, symmetry: int = 1) -> np.ndarray:
    """The angle between two directions, in [0, pi / symmetry]."""
    half = np.pi / symmetry
    return np.abs((one - other + half) % (2 * half) - half)


def _checked_state(state: np.ndarray) -> np.ndarray:
    state = np.array(state, dtype=np.float64)
    if state.shape != (7,) or not np.isfinite(state).all():
        raise GraspPlannerError(f"a state is seven finite numbers {STATE_NAMES}, shape (7,); got {state!r}")
    return state
