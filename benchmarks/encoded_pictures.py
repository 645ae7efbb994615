"""Dynamics that are trained on the latents of a picture model, as if latents were the states of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner import Dynamics
from grasp_planner.data import Episodes, read
from grasp_planner.models import LatentModel, StateModel

ENCODED_AT_ONCE = 512


@torch.no_grad()
def with_latents_as_states(folder: Path, pictures: LatentModel) -> Episodes:
    """Read collected episodes, with the latents of their pictures in place of their states."""
    episodes = read(folder, keys=("pixels",))
    parts = episodes.chunks("pixels", ENCODED_AT_ONCE)
    latents = [pictures.encode({"pixels": torch.tensor(part)[:, None]})[:, 0] for part in parts]
    return replace(episodes, observations={"state": torch.cat(latents).numpy().astype(np.float64)})


class OnLatents:
    """A world model that encodes pictures by one model, and predicts latents by another.

        z = dynamics.encode(pictures.encode(observation)),    z' = dynamics(z, a)

    Args:
        pictures: a model without proprioception; its own predictor is not used.
        dynamics: a model of the latents of ``pictures``.

    Attributes:
        context, frameskip, low, high, scale, goal_weights: those of ``dynamics``.
        pixels: side of the pictures that ``encode`` reads.
    """

    def __init__(self, pictures: LatentModel, dynamics: StateModel) -> None:
        self.pictures, self.dynamics = pictures, dynamics
        self.context, self.frameskip, self.pixels = dynamics.context, dynamics.frameskip, pictures.pixels
        self.low, self.high, self.scale = dynamics.low, dynamics.high, dynamics.scale
        self.goal_weights = dynamics.goal_weights

    def __call__(self, states: Float[Tensor, "n 1 s"], actions: Float[Tensor, "n 1 a"]) -> Float[Tensor, "n s"]:
        """Predict the latents after one model step."""
        return self.dynamics(states, actions)

    def smoothed(self, amount: float) -> Dynamics:
        """Return a smoother version of the dynamics."""
        return self.dynamics.smoothed(amount)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode ``"pixels"`` (b, h, side, side, 3) uint8."""
        return self.dynamics.encode({"state": self.pictures.encode(observations)})

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Predict the environment's state by the probe of ``pictures``."""
        return self.pictures.decode_state(self.dynamics.decode_state(latents))

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions."""
        return self.dynamics.environment_actions(actions)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks."""
        return self.dynamics.model_actions(actions)
