"""The interface between the training loop and the models that it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grasp_planner.data import Episodes

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Cut:
    """The form of the windows that are cut from episodes, see ``data.Windows``."""

    history: int
    future: int
    frameskip: int
    keys: tuple[str, ...]


class Learner(Protocol):
    """A model together with its loss: an ``nn.Module`` whose ``forward`` is the loss.

    Attributes:
        model: the model that is trained, averaged and saved.
        observations: the observations that are read from the data sets.
    """

    model: Any
    observations: tuple[str, ...]

    def cut(self, unroll: int, frozen: bool = False) -> Cut:
        """Describe the windows that are needed to predict ``unroll`` environment steps in a row.

        With ``frozen``, the windows hold what ``freeze`` added to the episodes.
        """
        ...

    def encoded(
        self, parts: Sequence[Episodes], *, device: torch.device, seed: int, fitted: bool, progress: bool
    ) -> list[Episodes]:
        """Return the data sets with what a frozen encoder makes of them; other learners return them unchanged.

        Args:
            parts: the data sets.
            device: where to encode.
            seed: seed of the sample from which the encoder's statistics are computed.
            fitted: whether the learner has the encoder and its statistics already, from a saved state.
            progress: show a progress bar.
        """
        ...

    def prepare(self, episodes: Episodes, seed: int) -> None:
        """Compute in closed form from the training data: normalisation, action bounds and linear parts of the model."""
        ...

    def __call__(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch, a scalar; all randomness comes from the generator."""
        ...

    def errors(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return open-loop errors of ``model`` by name (with the unit): (n, t), after each model step of a window."""
        ...

    def latents(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return latents (n, s) of observations, and their scale (s,); the loop checks them for a collapse."""
        ...

    def settle(self, model: nn.Module, episodes: Episodes) -> None:
        """Compute what depends on the weights of ``model``, the running average: statistics of batch normalisation."""
        ...

    def freeze(self, model: nn.Module, episodes: Episodes) -> Episodes:
        """Keep the encoder of ``model`` fixed from now on, and return the episodes with ``"visual"`` added.

        Raises:
            GraspPlannerError: this kind of model has no encoder to train.
        """
        ...

    # Methods of ``nn.Module``.

    def to(self, device: torch.device) -> Any:
        """Move all weights to a device."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights that the optimiser changes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Set the weights by name."""
        ...
