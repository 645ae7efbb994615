"""PointMaze as DINO-WM has it: a ball with inertia in a U-shaped maze, on MuJoCo."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's names come out of compiled modules that a type checker cannot read.)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.domains.point_maze.mjcf import mjcf
from grasp_planner.domains.point_maze.picture import top_down

try:
    import mujoco
except ImportError as error:
    raise missing_extra("mujoco", "envs", "PointMaze") from error

if TYPE_CHECKING:
    from grasp_planner.domains.point_maze.gl import Camera

STATE_NAMES = ("x", "y", "vx", "vy")
PHYSICS_STEPS = 5  # per environment step
SPEED_CLIP = 5.0  # of each joint, before a step
SAMPLED_SPEED = 5.2262554  # starts and goals; stems from data made with one physics step per environment step
TOLERANCE = 0.5  # m
# What a state may be: inside the outer walls, and faster than any motor or bounce makes the ball.
STATE_LOW = np.array([-0.2, -0.2, -10.0, -10.0])
STATE_HIGH = np.array([3.8, 3.8, 10.0, 10.0])
PICTURE_SIZES = (64, 224)
RENDERERS = ("top_down", "mujoco")


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """How far states (..., 4) are from goals (..., 4): ``position_m`` and ``velocity_m_s``, both Euclidean.

    >>> distances(np.array([3.0, 4.0, 1.0, 0.0]), np.zeros(4))["position_m"].item()
    5.0
    """
    square = (np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)) ** 2
    return {
        "position_m": np.sqrt(square[..., 0] + square[..., 1]),
        "velocity_m_s": np.sqrt(square[..., 2] + square[..., 3]),
    }


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Whether states (..., 4) are at their goals (..., 4): positions less than 0.5 apart, at any velocity.

    >>> success(np.array([[0.49, 0, 5, 5], [0.5, 0, 0, 0]]), np.zeros(4)).tolist()
    [True, False]
    """
    return distances(state, goal)["position_m"] < TOLERANCE


class PointMaze(gymnasium.Env):
    """A ball with inertia is driven by two motors through a U-shaped corridor, 1 wide, to a goal position.

    **State** (4): x, y, vx, vy (m, m/s); the ends of the U are near (0.8, 0.8) and (2.8, 0.8), its bottom
    is at y = 2.8. **Proprioception**: the same. **Action** (2): motor commands, clipped to [-1, 1]; each
    gives up to 100 N on 4.19 kg. **Dynamics**: each joint velocity is clipped to +-5, then come five
    physics steps of 0.01 s; one full action from rest gives 1.185 m/s, the top speed of a joint is 6.13
    m/s. **Reward** 1.0 on success, else 0.0; an episode never terminates. **Info**: ``success`` and the
    `distances` to ``self.goal``; on reset also ``goal``.

    ``reset(seed=n)`` gives the very start and goal that the original gives for its seed n (they are drawn
    from ``RandomState(n mod 2^32)``); a reset without a seed goes on from the last one.

    The next state depends on the state and the action alone, so ``set_state(get_state())`` changes nothing.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224: observations also hold ``"pixels"``.
        renderer: ``"mujoco"``, the published view (needs EGL or OSMesa, some 5 ms a picture), or
            ``"top_down"``, a nearer one drawn by numpy in 0.05 ms at 64 px, see
            `point_maze_picture.top_down`. None: ``"mujoco"`` for ``pixels=224``, which checkpoints of
            DINO-WM expect, else ``"top_down"``.

    Source: the `point_maze` environment of DINO-WM (arXiv 2411.04983),
    https://github.com/gaoyuezhou/dino_wm, that is D4RL's maze2d-umaze with five physics steps per action.
    Differences: float64; the contact solver's memory is cut (states after 100 random steps differ by less
    than 1e-8); the reward is of the goal (there of a target that is parked out of sight). Not
    gymnasium-robotics' PointMaze_UMaze, which has one physics step, other coordinates and another
    threshold.

    >>> env = PointMaze()
    >>> observation, info = env.reset(seed=0, options={"state": np.array([0.8, 0.8, 0.0, 0.0])})
    >>> observation, reward, terminated, truncated, info = env.step(np.array([0.0, 1.0]))
    >>> observation["state"].round(3).tolist()
    [0.8, 0.836, 0.0, 1.185]
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    state_names: ClassVar[tuple[str, ...]] = STATE_NAMES
    action_limit: ClassVar[float] = 1.0

    def __init__(self, render_mode: str | None = None, pixels: int | None = None, renderer: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise GraspPlannerError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if pixels not in (None, *PICTURE_SIZES):
            raise GraspPlannerError(f"pixels must be None or one of {PICTURE_SIZES}, got {pixels!r}")
        if renderer not in (None, *RENDERERS):
            raise GraspPlannerError(f"renderer must be None or one of {RENDERERS}, got {renderer!r}")
        self.render_mode = render_mode
        self.pixels = pixels
        self.renderer = renderer or ("mujoco" if pixels == 224 else "top_down")
        parts: dict[str, spaces.Space] = {
            "state": spaces.Box(STATE_LOW, STATE_HIGH, dtype=np.float64),
            "proprio": spaces.Box(STATE_LOW, STATE_HIGH, dtype=np.float64),
        }
        if pixels is not None:
            parts["pixels"] = spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-self.action_limit, self.action_limit, (2,), np.float64)
        self.goal = np.zeros(4)
        self._model = mujoco.MjModel.from_xml_string(mjcf())
        self._data = mujoco.MjData(self._model)
        self._placed = False
        self._camera: Camera | None = None

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
        state, goal = sample_state(rng), sample_state(rng)
        self.set_state(options.get("state", state))
        self.goal = _checked_state(options.get("goal", goal))
        observation = self._observation()
        return observation, self._info(observation["state"]) | {"goal": self.goal.copy()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Drive the motors with the command (2,), clipped to [-1, 1], for 0.05 s."""
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise GraspPlannerError(f"an action is two finite numbers, shape (2,); got {action!r}")
        self._need_state()
        self._data.ctrl[:] = action.clip(-1.0, 1.0)
        self._data.qvel[:] = self._data.qvel.clip(-SPEED_CLIP, SPEED_CLIP)
        mujoco.mj_step(self._model, self._data, PHYSICS_STEPS)
        observation = self._observation()
        info = self._info(observation["state"])
        return observation, float(info["success"]), False, False, info

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """(4,) by the published law, see the function `sample_state`."""
        return sample_state(rng)

    def set_state(self, state: np.ndarray) -> None:
        """Put ball and velocity at `state` (4,), exactly."""
        state = _checked_state(state)
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:], self._data.qvel[:] = state[:2], state[2:]
        self._placed = True

    def get_state(self) -> np.ndarray:
        """(4,) float64: x, y, vx, vy."""
        self._need_state()
        return np.concatenate([self._data.qpos, self._data.qvel])

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The present picture (pixels, pixels, 3) uint8, 224 px unless `pixels` says otherwise."""
        if self.render_mode is None:
            return None
        return self.picture(self.get_state(), self.pixels or 224)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """(size, size, 3) uint8: any state drawn by the environment's renderer, without stepping.

        Raises:
            GraspPlannerError: the renderer is ``"mujoco"`` and there is neither EGL nor OSMesa here.
        """
        if self.renderer == "top_down":
            return top_down(state, size)
        from grasp_planner.domains.point_maze.gl import Camera

        if self._camera is None or self._camera.size != size:
            self.close()
            self._camera = Camera(self._model, size)
        return self._camera.picture(state)

    def close(self) -> None:
        """Give the OpenGL resources back, if there are any."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    @staticmethod
    def proprio_of(state: np.ndarray) -> np.ndarray:
        """(..., 4): the state itself."""
        return np.asarray(state).copy()

    def _need_state(self) -> None:
        if not self._placed:
            raise GraspPlannerError("the environment has no state yet: call reset() or set_state() first")

    def _observation(self) -> dict[str, np.ndarray]:
        state = self.get_state()
        observation = {"state": state, "proprio": self.proprio_of(state)}
        if self.pixels is not None:
            observation["pixels"] = self.picture(state, self.pixels)
        return observation

    def _info(self, state: np.ndarray) -> dict[str, Any]:
        measured = {name: float(value) for name, value in distances(state, self.goal).items()}
        return {"success": bool(success(state, self.goal)), **measured}


def sample_state(rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
    """(4,) a start or a goal by the published law: x, y in U(0.5, 3.1)^2, again while inside the inner wall.

    A position counts unless 1.1 < x < 2.5 and y < 2.5; each velocity is in U(-5.2262554, 5.2262554).

    >>> sample_state(np.random.RandomState(1)).shape
    (4,)
    """
    while True:
        x, y = rng.uniform(0.5, 3.1), rng.uniform(0.5, 3.1)
        if x <= 1.1 or x >= 2.5 or y >= 2.5:
            break
    return np.array([x, y, rng.uniform(-SAMPLED_SPEED, SAMPLED_SPEED), rng.uniform(-SAMPLED_SPEED, SAMPLED_SPEED)])


def _checked_state(state: np.ndarray) -> np.ndarray:
    state = np.array(state, dtype=np.float64)
    if state.shape != (4,) or not ((state >= STATE_LOW) & (state <= STATE_HIGH)).all():
        raise GraspPlannerError(
            f"a state is {STATE_NAMES}, shape (4,), "
            f"between {STATE_LOW.tolist()} and {STATE_HIGH.tolist()}; got {state!r}"
        )
    return state
