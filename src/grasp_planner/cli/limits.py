"""Limits of a run: the budget of a planner, and the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget

TRANSITIONS = 30_000  # per episode, if no budget is given


def budget_of(steps: int | None, seconds: float | None, transitions: int | None, default: Budget) -> Budget:
    """Return the budget with the given limits, or the default if no limit is given."""
    if steps is None and seconds is None and transitions is None:
        return default
    return Budget(steps=steps, seconds=seconds, transitions=transitions)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Set the number of threads of torch within the block; ``None`` keeps torch's number.

    One thread is best for small models. Each call takes little time, so on a busy machine the threads spend most of
    their time waiting for each other.

    Raises:
        GraspPlannerError: ``count`` is not positive.
    """
    if count is not None and count < 1:
        raise GraspPlannerError(f"--threads must be at least 1, got {count}")
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
