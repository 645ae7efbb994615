"""The physics of PointMaze, on MuJoCo: a ball with inertia, driven by two motors; and how states are sampled."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's names come out of compiled modules that a type checker cannot read.)

from __future__ import annotations

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.domains.point_maze.mjcf import mjcf

try:
    import mujoco
except ImportError as error:
    raise missing_extra("mujoco", "envs", "PointMaze") from error

STATE_NAMES = ("x", "y", "vx", "vy")
# A state must be inside the outer walls. Its speeds may exceed those that motors and collisions cause.
STATE_LOW = np.array([-0.2, -0.2, -10.0, -10.0])
STATE_HIGH = np.array([3.8, 3.8, 10.0, 10.0])
PHYSICS_STEPS = 5  # in one environment step
SPEED_CLIP = 5.0  # limit of each joint velocity before an environment step, m/s
SAMPLED_SPEED = 5.2262554  # limit for sampled states, m/s; from data with one physics step per environment step


class Simulation:
    """The maze and its ball in MuJoCo.

    Attributes:
        model: the MuJoCo model, for the camera.
    """

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(mjcf())
        self._data = mujoco.MjData(self.model)

    def place(self, state: np.ndarray) -> None:
        """Put position and velocity at a state (4,), exactly."""
        mujoco.mj_resetData(self.model, self._data)
        self._data.qpos[:], self._data.qvel[:] = state[:2], state[2:]

    def step(self, action: np.ndarray) -> None:
        """Make one environment step (0.05 s) under a motor command (2,), which is clipped to [-1, 1]."""
        self._data.ctrl[:] = action.clip(-1.0, 1.0)
        self._data.qvel[:] = self._data.qvel.clip(-SPEED_CLIP, SPEED_CLIP)
        mujoco.mj_step(self.model, self._data, PHYSICS_STEPS)

    def state(self) -> np.ndarray:
        """Return the state (4,) float64: x, y, vx, vy."""
        return np.concatenate([self._data.qpos, self._data.qvel])


def sample_state(rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
    """Sample a start or a goal (4,) from DINO-WM's distribution.

    x and y are from U(0.5, 3.1), drawn again while the ball would be in the inner wall (1.1 < x < 2.5 and y < 2.5).
    Both velocities are from U(-5.2262554, 5.2262554).

    >>> sample_state(np.random.RandomState(1)).shape
    (4,)
    """
    while True:
        x, y = rng.uniform(0.5, 3.1), rng.uniform(0.5, 3.1)
        if x <= 1.1 or x >= 2.5 or y >= 2.5:
            break
    return np.array([x, y, rng.uniform(-SAMPLED_SPEED, SAMPLED_SPEED), rng.uniform(-SAMPLED_SPEED, SAMPLED_SPEED)])


def checked_state(state: np.ndarray) -> np.ndarray:
    """Return a float64 copy of a state (4,).

    Raises:
        GraspPlannerError: the state has another shape, or a number is out of bounds.
    """
    state = np.array(state, dtype=np.float64)
    if state.shape != (4,) or not ((state >= STATE_LOW) & (state <= STATE_HIGH)).all():
        raise GraspPlannerError(
            f"a state is {STATE_NAMES}, shape (4,), "
            f"between {STATE_LOW.tolist()} and {STATE_HIGH.tolist()}; got {state!r}"
        )
    return state
