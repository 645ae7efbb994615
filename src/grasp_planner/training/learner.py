"""What the training loop asks of whatever it trains, so that one loop serves every kind of model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grasp_planner.data import Episodes

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Cut:
    """How windows are cut from episodes, see ``data.Windows``."""

    history: int
    future: int
    frameskip: int
    keys: tuple[str, ...]


class Saved(Protocol):
    """A model that can be written to a folder."""

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``."""
        ...


class Learner(Protocol):
    """A model together with how it learns; an ``nn.Module`` whose ``forward`` is the loss.

    Attributes:
        model: what is trained, averaged and saved.
    """

    model: Any

    def cut(self, unroll: int) -> Cut:
        """The windows that predicting ``unroll`` environment steps in a row needs."""
        ...

    def prepare(self, episodes: Episodes, seed: int) -> None:
        """Set what is computed from the training data in closed form: normalisation, bounds, linear parts."""
        ...

    def __call__(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """The loss of a batch, a scalar; all randomness comes from the generator."""
        ...

    def errors(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Open-loop errors of ``model`` by name (with the unit): (n, t), after each model step of a window."""
        ...

    def latents(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Latents (n, s) of observations, and their scale (s,): what the loop watches for a collapse."""
        ...

    def freeze(self, model: nn.Module, episodes: Episodes) -> Episodes:
        """Keep the encoder of ``model`` from here on, and give the episodes with ``"latent"`` beside the pictures.

        Raises:
            GraspPlannerError: this kind of model has no encoder to train.
        """
        ...
