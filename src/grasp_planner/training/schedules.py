"""Schedules of a training: the learning rate, and the decay of the running average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = list[Tensor] | tuple[Tensor, ...]


def warmup_then_cosine(optimiser: torch.optim.Optimizer, warmup: float, steps: int) -> SequentialLR:
    """Schedule the learning rate: a linear warm-up to the optimiser's learning rate, then a cosine to zero.

    Args:
        optimiser: its learning rate is the maximum.
        warmup: share of the steps that the warm-up takes; it takes at least one step.
        steps: number of optimiser steps of the training.

    Example:
        >>> import torch
        >>> optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule, lrs = warmup_then_cosine(optimiser, warmup=0.5, steps=4), []
        >>> for _ in range(4):
        ...     lrs.append(round(schedule.get_last_lr()[0], 3))
        ...     optimiser.step()
        ...     schedule.step()
        >>> lrs
        [0.5, 1.0, 1.0, 0.5]
    """
    rising = max(1, round(warmup * steps))
    return SequentialLR(
        optimiser,
        [
            LinearLR(optimiser, start_factor=1 / rising, total_iters=rising - 1),
            CosineAnnealingLR(optimiser, T_max=max(1, steps - rising)),
        ],
        milestones=[rising],
    )


def running_average(model: nn.Module, decay: float, step: int = 0) -> AveragedModel:
    """Return an exponential moving average of a model's weights, starting from its present weights.

    The decay of update n is ``min(decay, n / (n + 9))``, so that the initial weights are forgotten quickly. The copy is
    in evaluation mode, and it has the model's present running statistics of batch normalisation.

    Args:
        model: the model whose weights are averaged; it is copied.
        decay: the largest decay per update.
        step: number of updates that ``model`` has had already, when a training is resumed.
    """

    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, n / (n + 9)))(averaged, current, count)

    average = AveragedModel(model, multi_avg_fn=update)
    average.eval().requires_grad_(False)
    average.n_averaged.fill_(step + 1)  # the initial weights count as the first update
    return average
