"""PointMaze's scripted policy: DINO-WM's uniform random actions."""

from __future__ import annotations

import numpy as np


class PointMazePolicy:
    """A policy of independent actions, uniform in [-1, 1]^2.

    Source: DINO-WM's PointMaze data. The standard deviation of their actions is 0.577, which is the standard deviation
    of this distribution, 1/sqrt(3).

    >>> policy = PointMazePolicy()
    >>> policy.reset(np.random.default_rng(0), np.zeros(4))
    >>> policy.act(np.zeros(4)).round(2).tolist()
    [0.27, -0.46]
    """

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode; all randomness comes from `rng`."""
        self._rng = rng

    def act(self, state: np.ndarray) -> np.ndarray:
        """Return the next motor command (2,), in [-1, 1]."""
        return self._rng.uniform(-1.0, 1.0, 2)
