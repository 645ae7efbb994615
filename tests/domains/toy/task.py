"""Toy's task."""

from __future__ import annotations

import numpy as np
from grasp_planner.domains.toy.policy import ToyPolicy
from grasp_planner.domains.toy.scene import SCENE

from grasp_planner.domains.domain import Domain, ReferenceData


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """Return the distances (...) as ``position_cm``."""
    return {"position_cm": np.abs(np.asarray(state)[..., 0] - np.asarray(goal)[..., 0])}


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return whether the bead is less than 0.5 cm from its goal."""
    return distances(state, goal)["position_cm"] < 0.5


DATA = ReferenceData(episode_steps=20, warm_up=10, action_mean=(0.0,), action_std=(0.577,))
TOY = Domain("toy", "Toy-v1", ToyPolicy, SCENE, success, distances, DATA)
