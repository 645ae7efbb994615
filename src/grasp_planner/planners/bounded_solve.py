"""Linear equations whose solution must stay within bounds: an active-set solver for a batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# How often coordinates that leave their bounds are held there and the rest is solved again.
_BOUND_ROUNDS = 4


def solve_within_bounds(
    normal: Float[Tensor, "b x x"],
    target: Float[Tensor, "b x"],
    lowest: Float[Tensor, "b x"],
    highest: Float[Tensor, "b x"],
) -> Float[Tensor, "b x"]:
    """Solve normal x = target; coordinates that leave their bounds are held on them, and the rest is solved again.

    If the actions were only clamped, the states would stay where only the unclamped actions could have led.
    """
    held = torch.zeros_like(target, dtype=torch.bool)
    at = torch.zeros_like(target)
    for _ in range(_BOUND_ROUNDS):
        # Rows and columns of what is held become those of the identity.
        free = ~held
        matrix = torch.where(free[:, :, None] & free[:, None], normal, torch.diag_embed(held.to(normal.dtype)))
        rest = target - (normal @ at[:, :, None])[:, :, 0]
        move, _ = torch.linalg.solve_ex(matrix, torch.where(held, at, rest))  # a singular one stays in its own problem
        move = torch.where(torch.isfinite(move), move, torch.nan)  # an infinite move would look like one onto a bound
        beyond = (move < lowest) | (move > highest)
        if not bool(beyond.any()):
            break
        held = held | beyond
        at = torch.where(beyond, move.clamp(lowest, highest), at)
    return move
