"""Wall's task: when a dot is at its goal, and the defaults for data and benchmarks."""

from __future__ import annotations

import numpy as np

from grasp_planner.domains.domain import Domain, ReferenceData
from grasp_planner.domains.wall.policy import WallPolicy
from grasp_planner.domains.wall.scene import SCENE

TOLERANCE = 4.5  # px


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """Return the distances of states (..., 2) from goals (..., 2): ``position_px``, Euclidean, an array (...).

    >>> distances(np.array([3.0, 4.0]), np.zeros(2))["position_px"].item()
    5.0
    """
    difference = np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)
    return {"position_px": np.sqrt(difference[..., 0] ** 2 + difference[..., 1] ** 2)}


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return whether states (..., 2) are less than 4.5 px from their goals (..., 2); a bool array (...).

    >>> success(np.array([[10.0, 14.4], [10.0, 14.5]]), np.array([10.0, 10.0])).tolist()
    [True, False]
    """
    return distances(state, goal)["position_px"] < TOLERANCE


# Action statistics and episode length are those of DINO-WM's data set `wall_single`.
#
# Reach of random_state: 25 environment steps of the data's mean length cover the shortest path of 88 % of the pairs. 25
# environment steps of the maximum length cover the shortest path of all pairs.
#
# Stretches of dset, by horizon. Between 10 and 19 % of the stretches end in the room opposite to their start.
#
#     environment steps                     10     25     50     80
#     median distance of goal from start            18 px  22 px  25 px
#     dropped, since the start is a success 23 %   10 %    6 %    5 %
DATA = ReferenceData(episode_steps=50, warm_up=25, action_mean=(-0.00556, 0.01320), action_std=(0.75233, 0.74669))
WALL = Domain(
    "wall",
    "WallSingle-v1",
    WallPolicy,
    SCENE,
    success,
    distances,
    DATA,
    models=("wall-state", "wall-pixels", "wall-patches", "wall-lewm"),
    tolerances={"position_px": TOLERANCE},
)
