"""BallNav's task: when the ball is at its goal, and the defaults for data and benchmarks."""

from __future__ import annotations

import numpy as np

from grasp_planner.domains.ball_nav.physics import RADIUS
from grasp_planner.domains.ball_nav.policy import BallNavPolicy
from grasp_planner.domains.ball_nav.scene import SCENE
from grasp_planner.domains.domain import Domain, ReferenceData, Variant


def distances(state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """Return the distances of states (..., 2) from goals (..., 2): ``position_m``, Euclidean, an array (...).

    >>> distances(np.array([3.0, 4.0]), np.zeros(2))["position_m"].item()
    5.0
    """
    difference = np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)
    return {"position_m": np.sqrt((difference**2).sum(-1))}


def success(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return whether the ball covers the goal: its centre is less than its radius, 0.5 m, away. A bool array (...)."""
    return distances(state, goal)["position_m"] < RADIUS


# There is no published data set of BallNav. Action statistics are those of `grasp collect ball_nav --episodes 1000`,
# whose episodes have 100 environment steps.
#
# Start and goal of random_state are on either side of the cup. The shortest path takes 20 to 31 environment steps at
# full speed, so the default horizon is 60.
#
# Stretches of dset, by horizon:
#
#     environment steps                     10     25     50     80
#     median distance of goal from start            3.4 m  3.9 m  3.6 m
#     a wall is between start and goal              25 %   47 %   44 %
#     dropped, since the start is a success  7 %    4 %    1 %    2 %
DATA = ReferenceData(episode_steps=100, warm_up=50, action_mean=(0.1513, -0.0036), action_std=(0.5737, 0.5795))
HORIZONS = {"random_state": 60, "dset": 25, "random_action": 25}

# The least distance in m, along the axis of the larger part, of a shortest path from start to goal. The smallest of
# 1500 sampled pairs is 0.5 to 1 % longer on every map.
LEAST_PATHS = {"cup": 5.15, "hook": 6.0, "slalom": 6.8}
LONG_HORIZONS = (100, 300, 1000)
VARIANTS = {
    f"{map}_{steps}": Variant(
        options={"map": map, "pace": 2 * least / steps},  # the shortest path takes at least half of the steps
        horizon=steps,
        model=f"ball-nav-{map}-{steps}",
        drawn=map == "cup",
    )
    for map, least in LEAST_PATHS.items()
    for steps in LONG_HORIZONS
}
"""BallNav over very long horizons: at a pace so slow that the shortest path takes 50 to 92 % of the horizon."""

BALL_NAV = Domain(
    "ball_nav",
    "BallNav-v1",
    BallNavPolicy,
    SCENE,
    success,
    distances,
    DATA,
    horizons=HORIZONS,
    models=("ball-nav", *(variant.model for variant in VARIANTS.values())),
    variants=VARIANTS,
    tolerances={"position_m": RADIUS},
)
