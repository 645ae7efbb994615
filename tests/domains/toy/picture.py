"""Pictures of Toy."""

from __future__ import annotations

import numpy as np
from grasp_planner.domains.toy.physics import LENGTH


def picture(state: np.ndarray, size: int) -> np.ndarray:
    """Draw a dark column at the bead's x, as (size, size, 3) uint8."""
    image = np.full((size, size, 3), 255, np.uint8)
    image[:, min(int(state[0] / LENGTH * size), size - 1)] = 0
    return image
