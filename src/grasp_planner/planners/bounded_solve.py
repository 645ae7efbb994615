"""Linear equations whose solution must stay within bounds, solved for a batch by an active-set method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def within_bounds(
    solved: Callable[[Tensor, Tensor], Tensor],
    lowest: Float[Tensor, "b x"],
    highest: Float[Tensor, "b x"],
    rounds: int,
) -> Float[Tensor, "b x"]:
    """Return a solution whose coordinates outside of their bounds are fixed, and the others solved for again.

    Args:
        solved: a function of the mask of fixed coordinates and of their values, both ``(b, x)``, that returns the
            solution with these coordinates fixed.
        lowest: lower bounds of the solution.
        highest: upper bounds of the solution.
        rounds: the largest number of solutions. Coordinates of the last one may be outside of their bounds.
    """
    held, at = torch.zeros_like(lowest, dtype=torch.bool), torch.zeros_like(lowest)
    move = at
    for _ in range(rounds):
        move = solved(held, at)
        move = torch.where(torch.isfinite(move), move, torch.nan)  # an infinite move would look like a move to a bound
        beyond = (move < lowest) | (move > highest)
        if not bool(beyond.any()):
            break
        held = held | beyond
        at = torch.where(beyond, move.clamp(lowest, highest), at)
    return move


def solve_within_bounds(
    normal: Float[Tensor, "b x x"],
    target: Float[Tensor, "b x"],
    lowest: Float[Tensor, "b x"],
    highest: Float[Tensor, "b x"],
) -> Float[Tensor, "b x"]:
    """Solve normal x = target within bounds, as :func:`within_bounds` does.

    If the actions were merely clamped, the states would no longer fit the actions.
    """

    def solved(held: Tensor, at: Tensor) -> Tensor:
        # The rows and columns of fixed coordinates are replaced by those of the identity matrix.
        free = ~held
        matrix = torch.where(free[:, :, None] & free[:, None], normal, torch.diag_embed(held.to(normal.dtype)))
        rest = target - (normal @ at[:, :, None])[:, :, 0]
        move, _ = torch.linalg.solve_ex(matrix, torch.where(held, at, rest))  # singular: its own problem only
        return move

    return within_bounds(solved, lowest, highest, rounds=4)
