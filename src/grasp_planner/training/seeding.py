"""Random initial weights that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random numbers of the processor from a seed until the block ends; the global random state does not change.

    >>> with seeded(0):
    ...     torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also seeds every GPU
        yield
