"""The physics of Toy: a bead moves along x and stops at the ends of the wire."""

from __future__ import annotations

import numpy as np

from grasp_planner.core.errors import GraspPlannerError

LENGTH, HEIGHT = 10.0, 5.0  # cm


def step_points(position: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Return the positions (..., 2) after a move (..., 1) in cm along x."""
    moved = np.array(position, dtype=np.float64)
    moved[..., 0] = np.clip(moved[..., 0] + move[..., 0], 0.0, LENGTH)
    return moved


def sample_state(rng: np.random.Generator) -> np.ndarray:
    """Sample a state (2,), uniform on the wire."""
    return np.array([rng.uniform(0.0, LENGTH), HEIGHT])


def checked_state(state: np.ndarray) -> np.ndarray:
    """Return a float64 copy of a state (2,)."""
    state = np.array(state, dtype=np.float64)
    if state.shape != (2,) or not (0 <= state[0] <= LENGTH and state[1] == HEIGHT):
        raise GraspPlannerError(f"a state is (x, {HEIGHT}), x in [0, {LENGTH}]; got {state!r}")
    return state
