"""Worlds: one folder each for Wall, PointMaze, Push-T and BallNav. No module of this folder imports torch.

Each folder holds ``environment.py`` (the Gymnasium class), ``physics.py`` (the dynamics), ``picture.py``,
``policy.py`` (the scripted policy), ``scene.py`` (outlines for figures) and ``task.py`` (success rule and defaults).
The table of worlds is `grasp_planner.domains.registry`.

Importing this package registers the environments with Gymnasium, if it is installed. Both of these lines work:

- ``import grasp_planner.domains; gymnasium.make("grasp_planner/PushT-v1")``
- ``gymnasium.make("grasp_planner.domains:grasp_planner/PushT-v1")``
"""

from __future__ import annotations

from importlib.util import find_spec

from grasp_planner.core.errors import missing_extra
from grasp_planner.domains.registry import ENVIRONMENTS

__all__ = ["ENVIRONMENTS", "register"]


def register() -> None:
    """Register every environment with Gymnasium, under the namespace ``grasp_planner``.

    The import of this package calls it. Further calls change nothing.

    Raises:
        MissingExtraError: Gymnasium is not installed.

    Example:
        >>> import gymnasium
        >>> register()
        >>> gymnasium.make("grasp_planner/WallSingle-v1").reset(seed=0)[0]["state"].shape
        (2,)
    """
    try:
        import gymnasium
    except ImportError as error:
        raise missing_extra("gymnasium", "envs", "an environment") from error

    for name, entry_point in ENVIRONMENTS.items():
        full_name = f"grasp_planner/{name}"
        if full_name not in gymnasium.registry:
            gymnasium.register(id=full_name, entry_point=entry_point)


if find_spec("gymnasium") is not None:
    register()
