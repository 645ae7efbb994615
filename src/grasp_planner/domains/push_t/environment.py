"""Push-T as in DINO-WM: a disc pushes a T to a goal pose, with relative actions and without inertia."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.push_t.physics import STATE_NAMES, Simulation, checked_state, sample_state
from grasp_planner.domains.push_t.picture import picture
from grasp_planner.domains.push_t.task import distances, success
from grasp_planner.domains.world import World

FAR = 1e5  # bound of positions (px) and velocities (px/s): nothing keeps the pusher inside the window


class PushT(World):
    """A disc pushes a T-shaped block in a 512 x 512 px window (y points down) until both match the goal.

    **State** (7): pusher x, y; block x, y, theta in [0, 2 pi]; pusher vx, vy (px, rad, px/s). Block x, y is the middle
    of the bar's outer edge, not the centre of gravity. **Proprioception** (4): pusher x, y, vx, vy. **Action** (2):
    the pusher's target relative to its position, in units of 100 px. Within a step (0.1 s) the PD controller moves a
    resting pusher 30 % of the way. The action space is the nominal range [-1, 1]; actions are **not clipped**, as in
    the original. **Success**: see `task.success`. **Info**: ``success`` and the `task.distances`; see `World` for
    the rest.

    The block has no friction and no inertia: it moves only while it is pushed. The pusher is kinematic: neither the
    block nor the walls stop it, and it can leave the window.

    `set_state` builds a new simulation, sets the angle, then the position, and makes one physics step of 0.01 s. In
    that step a pusher with velocity v moves by 0.01 v, and overlapping bodies are pushed apart a little. Hence
    ``set_state(get_state())`` is close to the identity but not equal to it, since the seven numbers do not contain
    contact impulses. Two environments that are given the same state and actions agree exactly.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224, the side of the pictures in observations; None: no pictures. See `picture.picture`.
        symmetry: symmetry of the success rule, see `task.success`; DINO-WM uses 1.

    Raises:
        GraspPlannerError: a setting has another value.

    Source: DINO-WM (arXiv 2411.04983), https://github.com/gaoyuezhou/dino_wm; trajectories are equal to the last bit.
    Differences: observed states are float64 (in the original float32); the reward is success (in the original the
    coverage of the fixed green T, which is not the goal); random states come from a numpy Generator, with the same
    distribution.

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
        low = np.array([-FAR, -FAR, -FAR, -FAR, 0, -FAR, -FAR])
        high = np.array([FAR, FAR, FAR, FAR, 2 * np.pi, FAR, FAR])
        super().__init__(render_mode, pixels, low, high)

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a start (7,) from DINO-WM's distribution, see `physics.sample_state`."""
        return sample_state(rng)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """Draw any state (7,) as (size, size, 3) uint8, see `picture.picture`."""
        return picture(state, size)

    @staticmethod
    def proprio_of(state: np.ndarray) -> np.ndarray:
        """Return pusher x, y, vx, vy (..., 4) of states (..., 7)."""
        return np.asarray(state)[..., [0, 1, 5, 6]]

    def _sample_pair(self, seed: int | None, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        # A given state uses no random numbers, so with a given start the goal is the first sample.
        state = given["state"] if "state" in given else sample_state(self.np_random)
        goal = given["goal"] if "goal" in given else sample_state(self.np_random)
        return state, goal

    def _checked(self, state: np.ndarray) -> np.ndarray:
        return checked_state(state)

    def _place(self, state: np.ndarray) -> None:
        self._simulation = Simulation(state)

    def _advance(self, action: np.ndarray) -> None:
        self._simulation.step(*action.tolist())

    def _read(self) -> np.ndarray:
        return self._simulation.state()

    def _judged(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return success(state, self.goal, symmetry=self.symmetry), distances(state, self.goal)
