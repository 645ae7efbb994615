"""Wall's scripted policy: DINO-WM's random walk with a drifting heading."""

from __future__ import annotations

import numpy as np

CONCENTRATION = 5.0  # of the von Mises distribution of turns
STEP_MEAN, STEP_WIDTH = 1.0, 0.4  # of the normal distribution of step lengths, in units of 2 px
STEP_LOW, STEP_HIGH = 0.2, 1.8  # step lengths outside this range are drawn again


class WallPolicy:
    """A random walk whose heading turns a little at every step.

    The first heading is uniform. Each step adds a turn from the von Mises distribution with mean 0 and kappa 5, whose
    standard deviation is 0.48 rad. Step lengths are normal with mean 1 and standard deviation 0.4, drawn again while
    outside [0.2, 1.8]. The policy ignores the state, so the dot runs into a wall for some steps and slides along it.

    Source: DINO-WM's generator of ``wall_single``. The standard deviation of the actions is 0.750 for this policy, and
    0.752 and 0.747 in the published data.

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
        """Return the next step (2,), in units of 2 px."""
        if self._heading is None:
            self._heading = self._rng.uniform(0, 2 * np.pi)
        else:
            self._heading += self._rng.vonmises(0, CONCENTRATION)
        length = self._rng.normal(STEP_MEAN, STEP_WIDTH)
        while not STEP_LOW <= length <= STEP_HIGH:
            length = self._rng.normal(STEP_MEAN, STEP_WIDTH)
        return length * np.array([np.cos(self._heading), np.sin(self._heading)])
