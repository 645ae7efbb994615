"""A second scripted policy for Push-T: varied fast motion near the T, like the candidate plans of planners."""

from __future__ import annotations

import numpy as np

LIMIT = 0.85  # bound of each coordinate of an action, in units of 100 px
KINDS = ("push", "smooth", "blocks", "uniform")
CENTRE_OF_GRAVITY = 45.0  # px along the stem
MIDDLE = 255.5  # px, of the window
REACH = 230.0  # px from the middle at which the pusher turns back


class PushTWildPolicy:
    """A policy with stretches of 4 to 20 environment steps of one kind of motion; four in five aim at the block.

    `PushTPolicy` collects data of careful pushes. Planners try all actions within the bounds, and gradient-based
    planners exploit errors of the model. Hence a model also needs data of collisions at speed, of a pusher that slides
    off or narrowly misses the block, and of pushes into walls.

    The kinds of motion are: one action held (``push``), correlated noise (``smooth``), an action that changes every
    five steps (``blocks``), and an action that changes every step (``uniform``).

    Args:
        limit: bound of each coordinate of an action, in units of 100 px.

    Example::

        policy = PushTWildPolicy()
        policy.reset(np.random.default_rng(0), observation["state"])
        action = policy.act(observation["state"])
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode; all randomness comes from `rng`."""
        self._rng = rng
        self._begin(np.asarray(state, dtype=np.float64))

    def act(self, state: np.ndarray) -> np.ndarray:
        """Return the action (2,), in units of 100 px, for a state (7,)."""
        rng, state = self._rng, np.asarray(state, dtype=np.float64)
        if self._steps == 0 or (np.abs(state[:2] - MIDDLE) > REACH).any():
            self._begin(state)
        self._steps -= 1
        if self._kind == "smooth":
            self._action = 0.8 * self._action + 0.2 * self._aim + 0.4 * self._strength * rng.standard_normal(2)
        elif self._kind == "uniform" or (self._kind == "blocks" and self._steps % 5 == 0):
            self._action = self._aim / 2 + self._strength * rng.uniform(-1, 1, 2)
        return np.clip(self._action, -self.limit, self.limit)

    def _begin(self, state: np.ndarray) -> None:
        rng = self._rng
        self._kind = KINDS[rng.integers(len(KINDS))]
        self._steps = int(rng.integers(4, 21))
        self._strength = self.limit * rng.uniform(0.1, 1.0)
        if rng.random() < 0.8:
            centre = state[2:4] + CENTRE_OF_GRAVITY * np.array([-np.sin(state[4]), np.cos(state[4])])
            towards = centre + rng.normal(0, 40, 2) - state[:2]
        else:
            towards = rng.uniform(MIDDLE - REACH, MIDDLE + REACH, 2) - state[:2]
        self._aim = self._strength * towards / max(float(np.linalg.norm(towards)), 1e-9)
        self._action = self._aim
