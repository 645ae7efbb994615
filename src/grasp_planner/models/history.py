"""Windows that are not full yet: how a model of context h plans when fewer than h frames were seen.

Models such as DINO-WM's read up to h frames and are trained on every shorter window too. Planning starts with one
frame; what stands in for the missing ones must not be read. A planner's state has a fixed size, so each carries one
more coordinate: 0 for a frame, ``ABSENT`` for what only fills the place of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError

# Far from 0, so that no noise on states, which is of the order of a latent, makes one of the other.
ABSENT = 1e3


def repeated(observations: Mapping[str, Any], keys: Sequence[str]) -> Bool[Tensor, "b h"]:
    """Which frames at the beginning only repeat the one after them, as an agent does where it has seen fewer than h.

    A scene in which truly nothing moved looks the same; it loses nothing, since the frame itself is kept.
    """
    arrays = [torch.as_tensor(observations[key]) for key in keys]
    same = torch.stack([(a[:, 1:] == a[:, :-1]).flatten(2).all(2) for a in arrays]).all(0)
    return torch.cat([same.long().cumprod(1).bool(), same.new_zeros(len(same), 1)], dim=1)


def marked(latents: Float[Tensor, "b h s"], absent: Bool[Tensor, "b h"]) -> Float[Tensor, "b h s_plus_1"]:
    """Latents with the coordinate that says which of them are frames."""
    mark = absent.to(latents) * ABSENT
    return torch.cat([latents, mark[..., None]], dim=-1)


def lengths(states: Float[Tensor, "n h s_plus_1"]) -> Int[Tensor, " n"]:
    """How many of the newest frames of each window are there; at least one."""
    present = (states[:, :-1, -1] < ABSENT / 2).long()
    return 1 + present.flip(1).cumprod(1).sum(1)


def by_length(
    predict: Callable[[Tensor, Tensor], Tensor],
    states: Float[Tensor, "n h s_plus_1"],
    actions: Float[Tensor, "n h a"],
) -> Float[Tensor, "n s_plus_1"]:
    """``predict(frames (m, k, s), actions (m, k, a)) -> (m, s)`` for the rows of each length k, in their old order."""
    found = lengths(states)
    frames = states[..., :-1]
    groups = found.unique().tolist()
    if len(groups) == 1:
        after = predict(frames[:, -groups[0] :], actions[:, -groups[0] :])
    else:
        rows = [(found == k).nonzero().flatten() for k in groups]
        parts = [predict(frames[row, -k:], actions[row, -k:]) for k, row in zip(groups, rows)]
        after = torch.cat(parts)[torch.cat(rows).argsort()]
    return torch.cat([after, after.new_zeros(len(after), 1)], dim=-1)


def check_history(history: int | None, context: int) -> int:
    """``history``, or ``context`` where there is none.

    Raises:
        GraspPlannerError: it is not between 1 and the context.
    """
    if history is None:
        return context
    if isinstance(history, bool) or not isinstance(history, int) or not 1 <= history <= context:
        raise GraspPlannerError(f"history must be None or a number of frames from 1 to {context}, got {history!r}")
    return history
