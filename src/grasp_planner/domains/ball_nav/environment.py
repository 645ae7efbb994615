"""BallNav: a ball is pushed around walls to a goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from grasp_planner.domains.ball_nav.physics import (
    PACE,
    SIZE,
    checked_pace,
    checked_state,
    sample_free,
    sample_pair,
    step_points,
    walls_of,
)
from grasp_planner.domains.ball_nav.picture import picture
from grasp_planner.domains.ball_nav.task import distances, success
from grasp_planner.domains.world import World


class BallNav(World):
    """A ball in a square room, 10 m wide, is pushed around thin walls to a goal on their other side.

    **State** (2): x, y of the ball's centre in m; y points up. **Proprioception**: the state. **Action** (2): a push in
    units of `pace`, clipped to [-1, 1] x [-1, 1]. **Dynamics**: `physics.step_points`; the ball has no inertia and
    slides along walls. **Success**: the ball's centre is less than its radius, 0.5 m, from the goal. **Info**:
    ``success`` and ``position_m``; see `World` for the rest.

    A reset samples x of the start from U(1, 2.5), x of the goal from U(7.5, 9), and both y from U(3.5, 6.5). Walls
    block the straight path on every map. The table shows the length of the shortest path. At the default pace 60
    environment steps cover 16.8 m along an axis.

    | map | mean | maximum |
    |---|---|---|
    | ``cup`` | 8 m | 9 m |
    | ``wall`` | 9 m | 10 m |
    | ``hook`` | 10 m | 12 m |
    | ``slalom`` | 11 m | 13 m |

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224, the side of the pictures in observations; None: no pictures. See `picture.picture`.
        map: ``"cup"``, ``"wall"``, ``"hook"`` or ``"slalom"``, see `physics.MAPS`.
        pace: distance in m that a push of 1 along an axis moves the ball. At half the pace, the same path takes twice
            as many environment steps.

    Raises:
        GraspPlannerError: a setting has another value.

    Source: ours, version 1. The name BallNav is mentioned in the material of GRASP (arXiv 2602.00475), without a
    definition.

    >>> env = BallNav(map="wall")
    >>> observation, info = env.reset(seed=0, options={"state": np.array([2.0, 5.0])})
    >>> observation, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    >>> observation["state"].round(6).tolist(), terminated
    ([2.28, 5.0], False)
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    state_names: ClassVar[tuple[str, ...]] = ("x", "y")
    action_limit: ClassVar[float] = 1.0

    def __init__(
        self, render_mode: str | None = None, pixels: int | None = None, map: str = "cup", pace: float = PACE
    ) -> None:
        super().__init__(render_mode, pixels, low=np.zeros(2), high=np.full(2, SIZE))
        self.map, self.pace, self.walls = map, checked_pace(pace), walls_of(map)

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a position (2,), uniform where the ball is free."""
        return sample_free(rng, self.walls)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """Draw any state (2,) without a goal, as (size, size, 3) uint8."""
        return picture(state, self.walls, size)

    def _sample_pair(self, seed: int | None, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return sample_pair(self.np_random)

    def _checked(self, state: np.ndarray) -> np.ndarray:
        return checked_state(state, self.map)

    def _place(self, state: np.ndarray) -> None:
        self._position = state

    def _advance(self, action: np.ndarray) -> None:
        push = np.clip(action, -self.action_limit, self.action_limit)
        self._position = step_points(self._position, push, self.walls, self.pace)

    def _read(self) -> np.ndarray:
        return self._position.copy()

    def _judged(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return success(state, self.goal), distances(state, self.goal)

    def _rendered(self, state: np.ndarray, size: int) -> np.ndarray:
        return picture(state, self.walls, size, goal=self.goal)
