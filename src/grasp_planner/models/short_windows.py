"""Windows of fewer than h frames, for models of context h that also predict from shorter windows.

Models such as DINO-WM's read up to h frames, and are trained on shorter windows, too. Planning begins after one
observed frame. The states of a ``Problem`` always hold h frames. Each frame therefore has one more coordinate, the
mark. The mark is 0 for a frame that was observed or predicted, and ``ABSENT`` for a frame that only fills the window
and must not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Far from 0, so that a planner's noise on states, which is of the order of a latent, cannot change a mark.
ABSENT = 1e3


def repeated(observations: Mapping[str, Any], keys: Sequence[str]) -> Bool[Tensor, "b h"]:
    """Find the frames at the beginning that are copies of the next frame.

    An agent that has observed fewer than h frames repeats the first frame. A scene in which nothing moved also has
    equal frames. The prediction is then still right, since the last of the equal frames is kept.

    Args:
        observations: arrays (b, h, ...).
        keys: the observations to compare.
    """
    arrays = [torch.as_tensor(observations[key]) for key in keys]
    same = torch.stack([(a[:, 1:] == a[:, :-1]).flatten(2).all(2) for a in arrays]).all(0)
    return torch.cat([same.long().cumprod(1).bool(), same.new_zeros(len(same), 1)], dim=1)


def marked(latents: Float[Tensor, "b h s"], absent: Bool[Tensor, "b h"], history: int) -> Float[Tensor, "b h s_plus_1"]:
    """Append the mark to latents.

    Args:
        latents: frames.
        absent: frames that must not be read.
        history: number of newest frames that may be read.
    """
    old = torch.arange(absent.shape[1], device=absent.device) < absent.shape[1] - history
    mark = (absent | old).to(latents) * ABSENT
    return torch.cat([latents, mark[..., None]], dim=-1)


def lengths(states: Float[Tensor, "n h s_plus_1"]) -> Int[Tensor, " n"]:
    """Count the newest frames of each window that may be read; at least one."""
    present = (states[:, :-1, -1] < ABSENT / 2).long()
    return 1 + present.flip(1).cumprod(1).sum(1)


def by_length(
    predict: Callable[[Tensor, Tensor], Tensor],
    states: Float[Tensor, "n h s_plus_1"],
    actions: Float[Tensor, "n h a"],
) -> Float[Tensor, "n s_plus_1"]:
    """Predict each window from the frames that may be read, with one call for each occurring length.

    Args:
        predict: function of frames (m, k, s) and actions (m, k, a) that returns the next frames (m, s), for k from 1 to
            h.
        states: windows with marks.
        actions: the actions at these frames.

    Returns:
        The next frames, marked as present.
    """
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
