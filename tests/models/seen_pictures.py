"""Observations of random pictures for models of pictures."""

from __future__ import annotations

import numpy as np


def seen(config, rows=3, seed=0):
    """Return random pictures and, for models that read it, random proprioception of ``rows`` windows."""
    rng = np.random.default_rng(seed)
    side = config.pixels
    found = {"pixels": rng.integers(0, 256, (rows, config.context, side, side, 3), dtype=np.uint8)}
    if config.proprio_size:
        found["proprio"] = rng.normal(size=(rows, config.context, config.proprio_size))
    return found
