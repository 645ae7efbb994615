"""A Gymnasium wrapper that adds noise to actions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, missing_extra

try:
    import gymnasium
except ImportError as error:
    raise missing_extra("gymnasium", "envs", "an environment") from error

_STREAM = 1  # separates the noise from the other random numbers of an environment with the same seed


class NoisyAction(gymnasium.ActionWrapper):
    """Add normal noise to every action, before the environment sees the action.

    Each coordinate of each action gets an independent number. A reset with a seed starts the noise again, so episodes
    with the same seed have the same noise, scaled by ``std``. The environment treats the noisy action like any other
    action: BallNav clips it, for example, and Push-T does not.

    Args:
        env: an environment whose actions are a ``gymnasium.spaces.Box``.
        std: standard deviation of the noise, in the units of the actions.

    Raises:
        GraspPlannerError: the actions are not a Box, or ``std`` is not a number >= 0.

    Example:
        >>> import gymnasium, grasp_planner.domains
        >>> env = NoisyAction(gymnasium.make("grasp_planner/BallNav-v1"), std=0.3)
        >>> paths = []
        >>> for seed in (1, 1, 2):
        ...     _ = env.reset(seed=seed, options={"state": np.array([2.0, 2.0])})
        ...     paths.append(env.step(np.array([0.5, 0.0]))[0]["state"])
        >>> bool((paths[0] == paths[1]).all()), bool((paths[0] == paths[2]).any())
        (True, False)
    """

    def __init__(self, env: gymnasium.Env[Any, Any], std: float) -> None:
        if not isinstance(env.action_space, gymnasium.spaces.Box):
            raise GraspPlannerError(f"NoisyAction needs an environment with a Box of actions, got {env.action_space}")
        if isinstance(std, bool) or not isinstance(std, (int, float)) or not 0 <= std < math.inf:
            raise GraspPlannerError(f"NoisyAction.std must be a number >= 0, got {std!r}")
        super().__init__(env)
        self.std = std
        self._noise = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode. A seed also starts the noise again."""
        if seed is not None:
            self._noise = np.random.default_rng([seed, _STREAM])
        return self.env.reset(seed=seed, options=options)

    def action(self, action: np.ndarray) -> np.ndarray:
        """Return an action (a,) with noise, in the dtype of the environment's actions."""
        wanted = np.asarray(action, dtype=np.float64)
        noisy = wanted + self.std * self._noise.standard_normal(wanted.shape)
        return np.asarray(noisy, dtype=self.action_space.dtype)
