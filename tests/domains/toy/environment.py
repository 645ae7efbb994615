"""Toy as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from grasp_planner.domains.toy.physics import HEIGHT, LENGTH, checked_state, sample_state, step_points
from grasp_planner.domains.toy.picture import picture
from grasp_planner.domains.toy.task import distances, success

from grasp_planner.domains.world import World


class Toy(World):
    """A bead on a wire. **State** (2): x and y in cm. **Action** (1): the move along x in cm."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
    state_names: ClassVar[tuple[str, ...]] = ("x", "y")
    action_size: ClassVar[int] = 1
    action_limit: ClassVar[float] = 1.0

    def __init__(self, render_mode: str | None = None, pixels: int | None = None) -> None:
        super().__init__(render_mode, pixels, low=np.zeros(2), high=np.array([LENGTH, 2 * HEIGHT]))

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        return sample_state(rng)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        return picture(state, size)

    def _sample_pair(self, seed: int | None, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return sample_state(self.np_random), sample_state(self.np_random)

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
