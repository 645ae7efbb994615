"""BallNav: a ball is pushed around walls to a goal. Numpy alone."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.ball_nav.picture import picture
from grasp_planner.domains.ball_nav.world import (
    OVERLAP,
    PACE,
    RADIUS,
    SIZE,
    checked_pace,
    clearance,
    distances,
    sample_free,
    sample_pair,
    step_points,
    success,
    walls_of,
)

PICTURE_SIZES = (64, 224)
STATE_NAMES = ("x", "y")

__all__ = ["BallNav", "distances", "success"]


class BallNav(gymnasium.Env):
    """A ball in a square room, 10 m wide, is pushed around thin walls to a goal on their other side.

    **State** (2): x, y of the ball's middle in m, y up. **Proprioception**: the same. **Action** (2): a push in
    [-1, 1] x [-1, 1], in units of `pace`; stronger ones are clipped. **Dynamics**: `world.step_points`; a ball without
    inertia that slides along walls. **Reward** 1.0 on success, else 0.0; an episode never terminates. **Success**: the
    ball's middle is less than its radius, 0.5 m, from the goal. **Info**: ``success`` and ``position_m``, the
    distance; on reset also ``goal``.

    A reset draws x of the start in U(1, 2.5), of the goal in U(7.5, 9), both y in U(3.5, 6.5): the straight way is
    blocked on every map. The shortest way is 8 m long on average on ``cup``, 9 on ``wall``, 10 on ``hook`` and 11 on
    ``slalom`` and 9, 10, 12 and 13 m at most; at the default pace 60 steps cover 16.8 m along an axis.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224: observations also hold ``"pixels"``, see `ball_nav_picture.picture`.
        map: ``"cup"``, ``"wall"``, ``"hook"`` or ``"slalom"``, see `world.MAPS`.
        pace: m that a push of 1 along an axis moves the ball; at half the pace the same journey takes twice the steps.

    Source: ours, version 1. The name stands in the material of GRASP (arXiv 2602.00475), without a definition.

    >>> env = BallNav(map="wall")
    >>> observation, info = env.reset(seed=0, options={"state": np.array([2.0, 5.0])})
    >>> observation, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    >>> observation["state"].round(6).tolist(), terminated
    ([2.28, 5.0], False)
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    state_names: ClassVar[tuple[str, ...]] = STATE_NAMES
    action_limit: ClassVar[float] = 1.0

    def __init__(
        self, render_mode: str | None = None, pixels: int | None = None, map: str = "cup", pace: float = PACE
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise GraspPlannerError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if pixels not in (None, *PICTURE_SIZES):
            raise GraspPlannerError(f"pixels must be None or one of {PICTURE_SIZES}, got {pixels!r}")
        self.render_mode, self.pixels = render_mode, pixels
        self.map, self.pace, self.walls = map, checked_pace(pace), walls_of(map)
        parts: dict[str, spaces.Space] = {
            "state": spaces.Box(0.0, SIZE, (2,), np.float64),
            "proprio": spaces.Box(0.0, SIZE, (2,), np.float64),
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
        """Start an episode from ``options["state"]`` to ``options["goal"]``; what is not given is drawn."""
        super().reset(seed=seed)
        options = options or {}
        if not {"state", "goal"}.issuperset(options):
            raise GraspPlannerError(f"options may hold 'state' and 'goal', got {sorted(options)}")
        state, goal = sample_pair(self.np_random)
        self.set_state(options.get("state", state))
        self.goal = self._checked(options.get("goal", goal))
        return self._observation(), self._info() | {"goal": self.goal.copy()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Push the ball, by an array (2,)."""
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise GraspPlannerError(f"an action is two finite numbers, shape (2,); got {action!r}")
        push = np.clip(action, -self.action_limit, self.action_limit)
        self._state = step_points(self.get_state(), push, self.walls, self.pace)
        info = self._info()
        return self._observation(), float(info["success"]), False, False, info

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """(2,) uniform over where the ball is free."""
        return sample_free(rng, self.walls)

    def set_state(self, state: np.ndarray) -> None:
        """Put the ball at `state` (2,), exactly; anywhere clear of walls and border."""
        self._state = self._checked(state)

    def get_state(self) -> np.ndarray:
        """(2,) float64 m."""
        if self._state is None:
            raise GraspPlannerError("the environment has no state yet: call reset() or set_state() first")
        return self._state.copy()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The present picture (pixels, pixels, 3) uint8 with the goal, 224 px unless `pixels` says otherwise."""
        if self.render_mode is None:
            return None
        return picture(self.get_state(), self.walls, self.pixels or 224, goal=self.goal)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """(size, size, 3) uint8: any state drawn, without stepping and without a goal."""
        return picture(state, self.walls, size)

    @staticmethod
    def proprio_of(state: np.ndarray) -> np.ndarray:
        """(..., 2): the state itself."""
        return np.asarray(state).copy()

    def _checked(self, state: np.ndarray) -> np.ndarray:
        state = np.array(state, dtype=np.float64)
        if state.shape != (2,) or not np.isfinite(state).all():
            raise GraspPlannerError(f"a state is (x, y), two finite numbers, shape (2,); got {state!r}")
        if clearance(state, self.walls) < RADIUS - OVERLAP:
            raise GraspPlannerError(
                f"a state must be {RADIUS} m clear of the border (0 and {SIZE} m) and of the walls of {self.map!r}, "
                f"got {state.tolist()}, {clearance(state, self.walls):.2f} m from the nearest"
            )
        return state

    def _observation(self) -> dict[str, np.ndarray]:
        state = self.get_state()
        observation = {"state": state, "proprio": self.proprio_of(state)}
        if self.pixels is not None:
            observation["pixels"] = self.picture(state, self.pixels)
        return observation

    def _info(self) -> dict[str, Any]:
        state = self.get_state()
        measured = {name: float(value) for name, value in distances(state, self.goal).items()}
        return {"success": bool(success(state, self.goal)), **measured}
