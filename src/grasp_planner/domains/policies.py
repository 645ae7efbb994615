"""Scripted policies that collect data, at least one per environment: ``reset(rng, state)``, then ``act(state)``."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from grasp_planner.domains.ball_nav.policy import BallNavPolicy
from grasp_planner.domains.point_maze.policy import PointMazePolicy
from grasp_planner.domains.push_t.policy import PushTPolicy
from grasp_planner.domains.push_t.wild_policy import PushTWildPolicy
from grasp_planner.domains.wall.policy import WallPolicy


class Policy(Protocol):
    """What collects data. All randomness comes from the generator given to `reset`."""

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode in `state`."""

    def act(self, state: np.ndarray) -> np.ndarray:
        """The action for `state`, in the environment's own units."""
        ...


POLICIES: dict[str, type[Policy]] = {
    "ball_nav": BallNavPolicy,
    "point_maze": PointMazePolicy,
    "push_t": PushTPolicy,
    "push_t_wild": PushTWildPolicy,
    "wall": WallPolicy,
}
