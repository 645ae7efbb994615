"""Gymnasium environments, without torch: Wall, Push-T, PointMaze and BallNav.

They are announced to Gymnasium through its plugin entry point, so after installation
``gymnasium.make("grasp_planner/PushT-v1")`` works without importing this package first.
"""

from __future__ import annotations

ENVIRONMENTS = {
    "WallSingle-v1": "grasp_planner.envs.wall:WallSingle",
    "PushT-v1": "grasp_planner.envs.push_t:PushT",
    "PointMaze-v1": "grasp_planner.envs.point_maze:PointMaze",
    "BallNav-v1": "grasp_planner.envs.ball_nav:BallNav",
}


def register() -> None:
    """Register every environment with Gymnasium, under the namespace ``grasp_planner``.

    Gymnasium calls this by itself when it loads plugins; it is safe to call again.
    """
    import gymnasium

    for name, entry_point in ENVIRONMENTS.items():
        full_name = f"grasp_planner/{name}"
        if full_name not in gymnasium.registry:
            gymnasium.register(id=full_name, entry_point=entry_point)
