"""The published policy of Wall: a random walk whose heading drifts."""

from __future__ import annotations

import numpy as np

CONCENTRATION = 5.0  # of the von Mises law of a turn
STEP_MEAN, STEP_WIDTH = 1.0, 0.4  # of the normal law of a step's length, in units of 2 px ...
STEP_LOW, STEP_HIGH = 0.2, 1.8  # ... which is cut to this range


class WallPolicy:
    """Walks on, turning a little at every step, whatever is in the way.

    The first heading is uniform; then heading += von Mises(0, kappa 5), a turn of 0.48 rad in standard
    deviation. A step's length is normal with mean 1 and width 0.4, drawn again while outside [0.2, 1.8]. The
    state is not looked at, so the dot keeps running into a wall for some steps, and slides along it.

    Source: DINO-WM's generator of ``wall_single``, whose published action standard deviations of 0.752 and
    0.747 this law gives (0.750).

    >>> policy = WallPolicy()
    >>> policy.reset(np.random.default_rng(0), np.array([10.0, 10.0]))
    >>> policy.act(np.array([10.0, 10.0])).shape
    (2,)
    """

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode; all randomness comes from `rng`."""
        self._rng = rng
        self._heading: float | None = None

    def act(self, state: np.ndarray) -> np.ndarray:
        """The next step (2,), in units of 2 px."""
        if self._heading is None:
            self._heading = self._rng.uniform(0, 2 * np.pi)
        else:
            self._heading += self._rng.vonmises(0, CONCENTRATION)
        length = self._rng.normal(STEP_MEAN, STEP_WIDTH)
        while not STEP_LOW <= length <= STEP_HIGH:
            length = self._rng.normal(STEP_MEAN, STEP_WIDTH)
        return length * np.array([np.cos(self._heading), np.sin(self._heading)])
