"""The prediction loss, the load balancing term of a mixture, and measures of whether a latent has collapsed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def pseudo_huber(squared: Float[Tensor, "*batch"], tolerance: float) -> Float[Tensor, "*batch"]:
    """Return a smooth loss of an error e, given its square: quadratic below the tolerance d, linear above it.

        sqrt(e^2 + d^2) - d

    A prediction that misses a contact by a small distance is far off afterwards. These errors are rare and large, and
    no model can avoid them. Under a squared loss, they would dominate the gradient.

    >>> import torch
    >>> pseudo_huber(torch.tensor([0.0, 16.0]), tolerance=3.0)
    tensor([0., 2.])
    """
    return (squared + tolerance**2).sqrt() - tolerance


def path_loss(
    predicted: Float[Tensor, "n t s"], target: Float[Tensor, "n t s"], scale: Float[Tensor, " s"], tolerance: float
) -> Float[Tensor, ""]:
    """Return the mean over windows and times of ``pseudo_huber`` of the distance of two paths in units of ``scale``."""
    squared = ((predicted - target) / scale).square().sum(-1)
    return pseudo_huber(squared, tolerance).mean()


def imbalance(gates: Float[Tensor, "*batch k"]) -> Float[Tensor, ""]:
    """Return the load balancing term of a mixture: the squared coefficient of variation of the experts' mean weights.

        k sum_i m_i^2 - 1,    m_i = mean of the weight g_i over the batch

    The term is 0 if all k experts have the same mean weight, and k - 1 if one expert has all the weight.

    Source: Shazeer et al., Outrageously large neural networks: the sparsely-gated mixture-of-experts layer (2017).

    >>> import torch
    >>> imbalance(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), imbalance(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    (tensor(0.), tensor(1.))
    """
    mean = gates.flatten(0, -2).mean(0)
    return len(mean) * mean.square().sum() - 1


def latent_health(latents: Float[Tensor, "n s"], scale: Float[Tensor, " s"]) -> dict[str, float]:
    """Return the smallest standard deviation and the effective rank of a latent, which show whether it has collapsed.

    The effective rank is exp of the entropy of the normalised eigenvalues of the covariance. It is s for an isotropic
    latent, near 1 for a collapsed latent, and 0 for a constant latent.

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
