"""Losses, each a function of tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def pseudo_huber(squared: Float[Tensor, "*batch"], tolerance: float) -> Float[Tensor, "*batch"]:
    """A smooth loss of an error's square: quadratic below the tolerance d, linear above it.

        sqrt(e^2 + d^2) - d

    A contact that a prediction misses by a hair sends the block somewhere else altogether. Such errors are large,
    rare and nobody's fault; under a squared loss they would outweigh everything that can be learned.

    >>> import torch
    >>> pseudo_huber(torch.tensor([0.0, 16.0]), tolerance=3.0)
    tensor([0., 2.])
    """
    return (squared + tolerance**2).sqrt() - tolerance


def path_loss(
    predicted: Float[Tensor, "n t s"], target: Float[Tensor, "n t s"], scale: Float[Tensor, " s"], tolerance: float
) -> Float[Tensor, ""]:
    """The mean over windows and times of ``pseudo_huber`` of the distance between two paths, in units of ``scale``."""
    squared = ((predicted - target) / scale).square().sum(-1)
    return pseudo_huber(squared, tolerance).mean()


def latent_health(latents: Float[Tensor, "n s"], scale: Float[Tensor, " s"]) -> dict[str, float]:
    """Whether a latent still tells states apart: its smallest standard deviation and its effective rank.

    The effective rank is exp of the entropy of the normalised eigenvalues of the covariance: s for an isotropic
    latent, near 1 (or 0 where nothing varies) for one that has collapsed.

    >>> import torch
    >>> latent_health(torch.zeros(100, 3), torch.ones(3))
    {'latent_std_min': 0.0, 'effective_rank': 0.0}
    """
    centred = (latents - latents.mean(0)).double() / scale.double()
    eigenvalues = torch.linalg.eigvalsh(centred.mT @ centred / max(1, len(centred) - 1)).clamp(min=0)
    total = eigenvalues.sum()
    rank = 0.0
    if float(total) > 0:
        shares = eigenvalues / total
        rank = float((-(shares * shares.clamp(min=1e-30).log()).sum()).exp())
    return {"latent_std_min": float(centred.square().mean(0).sqrt().min()), "effective_rank": rank}
