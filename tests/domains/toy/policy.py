"""Toy's scripted policy."""

from __future__ import annotations

import numpy as np


class ToyPolicy:
    """A policy of uniform moves."""

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        self._rng = rng

    def act(self, state: np.ndarray) -> np.ndarray:
        return self._rng.uniform(-1.0, 1.0, 1)
