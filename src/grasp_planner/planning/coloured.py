"""Noise that is smooth in time: white noise filtered to a power spectrum 1 / f^beta."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def coloured(white: Float[Tensor, "b n t a"], beta: float) -> Float[Tensor, "b n t a"]:
    """Filter white noise along time to the power spectrum 1 / f^beta, with unit variance; beta = 0 leaves it white.

    As in iCEM, the constant component gets the power of the slowest oscillation.
    """
    if beta == 0 or white.numel() == 0:
        return white
    horizon = white.shape[2]
    frequency = torch.arange(horizon // 2 + 1, dtype=white.dtype, device=white.device).clamp(min=1.0)
    amplitude = frequency ** (-beta / 2)
    # Each inner frequency represents two bins of the full spectrum, at the positive and at the negative frequency.
    copies = torch.full_like(amplitude, 2.0)
    copies[0] = 1.0
    if horizon % 2 == 0:
        copies[-1] = 1.0
    amplitude = amplitude * (horizon / (copies * amplitude.square()).sum()).sqrt()
    spectrum = torch.fft.rfft(white, dim=2) * amplitude[:, None]
    return torch.fft.irfft(spectrum, n=horizon, dim=2)
