"""Validation: open-loop prediction errors over many steps on held-out episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from grasp_planner.data import Episodes, Windows
from grasp_planner.training.learner import Learner
from grasp_planner.training.losses import latent_health

WINDOWS = 1000
AT_ONCE = 500
LEAST_STD = 0.01  # a latent coordinate with a smaller standard deviation, in units of its scale, has collapsed
LEAST_RANK = 1.05  # a latent of two or more coordinates with a smaller effective rank has collapsed


@dataclass(frozen=True)
class Health:
    """Spread and effective rank of a latent, and whether it has collapsed, see ``losses.latent_health``."""

    latent_std_min: float
    effective_rank: float
    collapsed: bool


def to_tensors(batch: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Convert arrays to float32 tensors, except bytes (pictures), which the model converts itself."""
    tensors = {}
    for key, array in batch.items():
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        tensors[key] = tensor.to(device, torch.uint8 if array.dtype == np.uint8 else torch.float32)
    return tensors


def open_loop_errors(
    learner: Learner,
    model: nn.Module,
    episodes: Episodes,
    horizons: tuple[int, ...],
    *,
    device: torch.device,
    windows: int = WINDOWS,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure the errors of open-loop predictions, on windows spread evenly over the episodes.

    Args:
        learner: the learner, which defines the errors.
        model: the model to measure.
        episodes: held-out episodes.
        horizons: environment steps, multiples of the model's frameskip.
        device: device of the model.
        windows: maximum number of windows; a window has the length of the longest horizon.

    Returns:
        name of the error -> horizon in environment steps -> ``mean``, ``median`` and ``p90`` over windows.
    """
    collected: dict[str, list[Tensor]] = {}
    for batch in _batches(learner, episodes, max(horizons), windows, device):
        for name, error in learner.errors(model, batch).items():
            collected.setdefault(name, []).append(error)
    frameskip = int(model.frameskip)  # type: ignore[arg-type]
    measured = {}
    for name, parts in collected.items():
        error = torch.cat(parts).double().cpu()
        measured[name] = {str(h): _summary(error[:, h // frameskip - 1]) for h in horizons}
    return measured


def health(learner: Learner, model: nn.Module, episodes: Episodes, horizon: int, *, device: torch.device) -> Health:
    """Measure the spread and the effective rank of the latents of held-out observations."""
    parts = [learner.latents(model, batch) for batch in _batches(learner, episodes, horizon, WINDOWS, device)]
    latents, scale = torch.cat([latent for latent, _ in parts]), parts[0][1]
    measured = latent_health(latents, scale)
    flat = latents.shape[-1] > 1 and measured["effective_rank"] < LEAST_RANK
    collapsed = flat or measured["latent_std_min"] < LEAST_STD
    return Health(measured["latent_std_min"], measured["effective_rank"], collapsed)


def _batches(
    learner: Learner, episodes: Episodes, horizon: int, count: int, device: torch.device
) -> list[dict[str, Tensor]]:
    cut = learner.cut(horizon)
    windows = Windows(episodes, history=cut.history, future=cut.future, frameskip=cut.frameskip, keys=cut.keys)
    chosen = np.unique(np.linspace(0, len(windows) - 1, count).round().astype(np.int64))
    parts = np.array_split(chosen, max(1, -(-len(chosen) // AT_ONCE)))
    return [to_tensors(windows[part], device) for part in parts]


def _summary(errors: Tensor) -> dict[str, float]:
    return {
        "mean": round(float(errors.mean()), 4),
        "median": round(float(errors.median()), 4),
        "p90": round(float(errors.quantile(0.9)), 4),
    }
