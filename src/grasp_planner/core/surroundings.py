"""The settings of torch under which models are evaluated, for any settings of the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from grasp_planner.core.frozen import frozen


@contextmanager
def planning_mode(device: torch.device, *things: object) -> Iterator[None]:
    """Evaluate models that are frozen, without gradients, outside of inference mode and of the caller's autocast.

    Autograd refuses tensors that were made in inference mode. Autocast would round the costs that choose the plan. A
    model may enable autocast itself.
    """
    gradients = torch.is_grad_enabled()
    try:
        with torch.inference_mode(False), torch.no_grad(), _without_autocast(device), frozen(*things):
            yield
    finally:
        if torch.is_grad_enabled() != gradients:  # the end of `no_grad` was interrupted
            torch.set_grad_enabled(gradients)


def _without_autocast(device: torch.device) -> ExitStack:
    """Disable autocast on ``device`` and on the CPU, where the caller has enabled it."""
    stack = ExitStack()
    for kind in {device.type, "cpu"}:
        if torch.amp.autocast_mode.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
    return stack
