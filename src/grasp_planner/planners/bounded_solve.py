"""Linear equations whose solution must stay within bounds, solved for a batch by an active-set method."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# The largest number of times that coordinates outside of their bounds are fixed and the rest is solved again.
_BOUND_ROUNDS = 4


def solve_within_bounds(
    normal: Float[Tensor, "b x x"],
    target: Float[Tensor, "b x"],
    lowest: Float[Tensor, "b x"],
    highest: Float[Tensor, "b x"],
) -> Float[Tensor, "b x"]:
    """Solve normal x = target within bounds.

    Coordinates outside of their bounds are fixed on the bounds, and the other coordinates are solved for again.

    If the actions were merely clamped, the states would no longer fit the actions.
    """
    held = torch.zeros_like(target, dtype=torch.bool)
    at = torch.zeros_like(target)
    for _ in range(_BOUND_ROUNDS):
        # The rows and columns of fixed coordinates are replaced by those of the identity matrix.
        free = ~held
        matrix = torch.where(free[:, :, None] & free[:, None], normal, torch.diag_embed(held.to(normal.dtype)))
        rest = target - (normal @ at[:, :, None])[:, :, 0]
        move, _ = torch.linalg.solve_ex(matrix, torch.where(held, at, rest))  # singular: its own problem only
        move = torch.where(torch.isfinite(move), move, torch.nan)  # an infinite move would look like a move to a bound
        beyond = (move < lowest) | (move > highest)
        if not bool(beyond.any()):
            break
        held = held | beyond
        at = torch.where(beyond, move.clamp(lowest, highest), at)
    return move
