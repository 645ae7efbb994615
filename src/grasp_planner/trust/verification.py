"""Calibrate the check of an event: the margin in the model that a plan needs, so that the event holds in the world."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError


def required_margin(margins: Float[Tensor, " n"], held: Bool[Tensor, " n"], precision: float = 0.9) -> float:
    """Return the least margin r so that, among the plans with a margin of at least r, the event held often enough.

        r  =  min over the observed margins m with  |{i: m_i >= m and held_i}|  >=  precision |{i: m_i >= m}|  of  m

    ``event.tightened(r)`` holds where the margin is at least r. It is a verifier of further plans, and can also be the
    event of a ``Constrained`` objective. Validation plans calibrate, other plans test. r may be below 0, if the event
    holds in the world although the model predicts that it just fails.

    Args:
        margins: ``(n,)`` margins of n plans, as the model predicts them.
        held: ``(n,)`` bool, whether the event held when each plan was executed.
        precision: wanted share of plans for which the event holds, among the plans that pass; from 0 to 1.

    Raises:
        GraspPlannerError: the shapes differ, ``held`` is not bool, a margin is NaN, or no margin reaches the precision.

    Example:
        >>> margins = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0])
        >>> required_margin(margins, torch.tensor([False, True, False, True, True]), precision=0.9)
        2.0

    Source: ours.
    """
    if margins.ndim != 1 or margins.shape != held.shape or held.dtype != torch.bool:
        raise GraspPlannerError(
            f"margins and held must be (n,) and held must be bool, got {tuple(margins.shape)} and "
            f"{tuple(held.shape)} {held.dtype}"
        )
    if bool(margins.isnan().any()):
        raise GraspPlannerError("margins must be numbers, got NaN: leave out the plans whose status is NONFINITE")
    least = margins.sort(descending=True).values
    passes = margins[:, None] >= least
    shares = (held[:, None] & passes).sum(0).double() / passes.sum(0)
    enough = (shares >= precision).nonzero().flatten()
    if not len(enough):
        raise GraspPlannerError(
            f"no margin reaches a precision of {precision}: of the {len(margins)} plans, the event held for "
            f"{int(held.sum())}. Use more plans, or another margin"
        )
    return float(least[enough[-1]])
