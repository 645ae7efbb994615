"""Gymnasium environments, without torch: Wall, Push-T, PointMaze and BallNav.

Importing this package registers them, which is how Gymnasium (since 1.0) finds the environments of others;
nothing else in ``grasp_planner`` acts on import. Both of these work:

- ``import grasp_planner.domains; gymnasium.make("grasp_planner/PushT-v1")``
- ``gymnasium.make("grasp_planner.domains:grasp_planner/PushT-v1")``
"""

from __future__ import annotations

from grasp_planner.core.errors import missing_extra

ENVIRONMENTS = {
    "WallSingle-v1": "grasp_planner.domains.wall.environment:WallSingle",
    "PushT-v1": "grasp_planner.domains.push_t.environment:PushT",
    "PointMaze-v1": "grasp_planner.domains.point_maze.environment:PointMaze",
    "BallNav-v1": "grasp_planner.domains.ball_nav.environment:BallNav",
}


def register() -> None:
    """Register every environment with Gymnasium, under the namespace ``grasp_planner``.

    Called on import; it is safe to call again.

    Raises:
        MissingExtraError: Gymnasium is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise missing_extra("gymnasium", "envs", "an environment") from error

    for name, entry_point in ENVIRONMENTS.items():
        full_name = f"grasp_planner/{name}"
        if full_name not in gymnasium.registry:
            gymnasium.register(id=full_name, entry_point=entry_point)


register()
