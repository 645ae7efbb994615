"""The scale of a problem: the typical size of each latent coordinate, given or derived from start and goal."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError


def units_of(
    start: Float[Tensor, "b s"], goal: Float[Tensor, "b s"], scale: Float[Tensor, " s"] | None
) -> Float[Tensor, "b s"]:
    """Return the scale of every problem and coordinate.

    Args:
        start: ``(b, s)``, s_0.
        goal: ``(b, s)``, g.
        scale: ``(s,)`` the scale of all problems. ``None``: one number per problem, the root mean square of g - s_0.
            The root mean square of g is used if the start equals the goal, and 1 if both are zero.

    Raises:
        GraspPlannerError: the distance from start to goal overflows, and no scale is given.
    """
    if scale is not None:
        return scale.expand_as(goal)
    distance, size = _root_mean_square(goal - start), _root_mean_square(goal)
    fallback = torch.where(size > 0, size, torch.ones_like(size))
    unit = torch.where(distance == 0, fallback, distance)
    if not bool(torch.isfinite(unit).all()):
        rows = (~torch.isfinite(unit[:, 0])).nonzero().flatten().tolist()
        raise GraspPlannerError(
            f"the distance from start to goal must be finite in {goal.dtype}, got an overflow in problem(s) "
            f"{rows[:10]}: use smaller units, float64, or give scale="
        )
    return unit.expand_as(goal)


def _root_mean_square(values: Float[Tensor, "b s"]) -> Float[Tensor, "b 1"]:
    """Compute the root mean square over coordinates, without overflow or underflow of the squares."""
    largest = values.abs().amax(-1, keepdim=True)
    divisor = torch.where(largest > 0, largest, torch.ones_like(largest))
    return largest * (values / divisor).square().mean(-1, keepdim=True).sqrt()
