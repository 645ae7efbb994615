"""Calibrate the check of an event: the margin in the model that a plan needs, so that the event holds in the world."""

from __future__ import annotations

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
        held: ``(n,)`` whether the event held when each plan was executed.
        precision: wanted share of plans for which the event holds, among the plans that pass; from 0 to 1.

    Raises:
        GraspPlannerError: the shapes differ, or no margin reaches the precision.

    Example:
        >>> import torch
        >>> margins = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0])
        >>> required_margin(margins, torch.tensor([False, True, False, True, True]), precision=0.9)
        2.0

    Source: ours.
    """
    if margins.ndim != 1 or margins.shape != held.shape:
        raise GraspPlannerError(f"margins and held must be (n,), got {tuple(margins.shape)} and {tuple(held.shape)}")
    order = margins.argsort(descending=True)
    least, passed = margins[order], (margins[:, None] >= margins[order]).sum(0)
    good = (held[:, None] & (margins[:, None] >= margins[order])).sum(0)
    enough = (good >= precision * passed).nonzero().flatten()
    if not len(enough):
        raise GraspPlannerError(
            f"no margin reaches a precision of {precision}: of the {len(margins)} plans, the event held for "
            f"{int(held.sum())}. Use more plans, or another margin"
        )
    return float(least[enough[-1]])
