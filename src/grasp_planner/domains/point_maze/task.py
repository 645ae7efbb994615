"""PointMaze's task: when the ball is at its goal, and the defaults for data and benchmarks."""

from __future__ import annotations

import numpy as np

from grasp_planner.domains.domain import Domain, ReferenceData
from grasp_planner.domains.point_maze.policy import PointMazePolicy
from grasp_planner.domains.point_maze.scene import SCENE

TOLERANCE = 0.5  # m


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """Return the Euclidean distances (...) of states (..., 4) from goals (..., 4): ``position_m``, ``velocity_m_s``.

    >>> distances(np.array([3.0, 4.0, 1.0, 0.0]), np.zeros(4))["position_m"].item()
    5.0
    """
    square = (np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)) ** 2
    return {
        "position_m": np.sqrt(square[..., 0] + square[..., 1]),
        "velocity_m_s": np.sqrt(square[..., 2] + square[..., 3]),
    }


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return whether the positions of states (..., 4) are less than 0.5 m from their goals (..., 4), at any velocity.

    >>> success(np.array([[0.49, 0, 5, 5], [0.5, 0, 0, 0]]), np.zeros(4)).tolist()
    [True, False]
    """
    return distances(state, goal)["position_m"] < TOLERANCE


# Action statistics and episode length are those of DINO-WM's data set `point_maze`.
#
# Stretches of dset, by horizon. Stretches fill the maze within 25 steps, so a longer horizon is not a farther goal.
#
#     environment steps                     10     25     50     80
#     median distance of goal from start            1.6 m  1.8 m  1.7 m
#     dropped, since the start is a success 30 %   15 %    9 %   11 %
DATA = ReferenceData(episode_steps=100, warm_up=50, action_mean=(7.8e-5, 6.0e-4), action_std=(0.57691, 0.57759))
POINT_MAZE = Domain(
    "point_maze",
    "PointMaze-v1",
    PointMazePolicy,
    SCENE,
    success,
    distances,
    DATA,
    models=("pointmaze-state", "pointmaze-pixels", "pointmaze-patches"),
    tolerances={"position_m": TOLERANCE},
)
