"""Optimiser steps on the mean of squared errors, for the networks that are learned for a trained world model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.training.logs import CSVLog
from grasp_planner.training.schedules import warmup_then_cosine

_LOG_EVERY, _WARMUP = 100, 0.02


def regression(part: str, network: nn.Module, lr: float, steps: int, log: CSVLog) -> Callable[[Tensor], None]:
    """Return a function that makes one AdamW step on the mean of squared errors, and logs every hundredth loss.

    The function raises a ``GraspPlannerError`` if the loss is no longer finite when it is logged.

    Args:
        part: name of the network, for the log and for errors.
        network: the network whose parameters change.
        lr: maximum learning rate, reached by a linear warm-up and followed by a cosine to zero.
        steps: number of optimiser steps of the training.
        log: the log of the losses.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=lr)
    schedule = warmup_then_cosine(optimiser, _WARMUP, steps)
    done = 0

    def update(errors: Tensor) -> None:
        nonlocal done
        done += 1
        loss = errors.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if done % _LOG_EVERY == 0 or done == steps:
            number = float(loss.detach())
            if not np.isfinite(number):
                raise GraspPlannerError(f"the loss of the {part} is no longer finite at step {done}: lower lr")
            log.write({"part": part, "step": done, "loss": number})

    return update
