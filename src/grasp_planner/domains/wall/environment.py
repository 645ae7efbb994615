"""Wall as in DINO-WM: a dot moves through two rooms that one door connects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from grasp_planner.domains.wall.physics import SIZE, checked_state, sample_pair, step_points
from grasp_planner.domains.wall.picture import picture
from grasp_planner.domains.wall.task import distances, success
from grasp_planner.domains.world import World, published_generator


class WallSingle(World):
    """A dot moves through two rooms of a 65 x 65 px world, connected by a door, to a goal in the other room.

    **State** (2): x, y in px; y points down in pictures. **Proprioception**: the state. **Action** (2): the move in
    units of 2 px. The action space is the range of the published data, [-1.8, 1.8]. Actions are **not clipped**, as
    in the original. **Dynamics**: `physics.step_points`. **Success**: less than 4.5 px from the goal. **Info**:
    ``success`` and ``position_px``; see `World` for the rest.

    ``reset(seed=n)`` gives the same start and goal as the original with seed n: they are drawn from
    ``RandomState(n mod 2^32)``. A reset without a seed continues the random stream. Start and goal are always in
    opposite rooms. The shortest path between them has a median length of 40 px and is 66 px at most. 25 steps of the
    data's mean length cover 50 px, which is enough for 88 % of the pairs. 25 steps of the maximum length cover 90 px.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224, the side of the pictures in observations; None: no pictures. See `picture.picture`.

    Source: the `wall` environment of DINO-WM (arXiv 2411.04983), https://github.com/gaoyuezhou/dino_wm, with its
    ``wall_single`` layout. Differences: positions are float64 (in the original float32 after a collision), and the
    reward is not always 0.

    >>> env = WallSingle()
    >>> observation, info = env.reset(seed=0, options={"state": np.array([10.0, 20.0])})
    >>> observation, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    >>> observation["state"].tolist(), terminated
    ([12.0, 20.0], False)
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    state_names: ClassVar[tuple[str, ...]] = ("x", "y")
    action_limit: ClassVar[float] = 1.8

    def __init__(self, render_mode: str | None = None, pixels: int | None = None) -> None:
        super().__init__(render_mode, pixels, low=np.zeros(2), high=np.full(2, SIZE - 1.0))

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a start (2,) from DINO-WM's distribution: in either room, at least 3.4 px from every wall."""
        return sample_pair(rng)[0]

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """Draw any state (2,) as (size, size, 3) uint8, see `picture.picture`."""
        return picture(state, size)

    def _sample_pair(self, seed: int | None, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return sample_pair(published_generator(seed, self.np_random))

    def _checked(self, state: np.ndarray) -> np.ndarray:
        return checked_state(state)

    def _place(self, state: np.ndarray) -> None:
        self._state = state

    def _advance(self, action: np.ndarray) -> None:
        self._state = step_points(self._state, action)

    def _read(self) -> np.ndarray:
        return self._state.copy()

    def _judged(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return success(state, self.goal), distances(state, self.goal)
