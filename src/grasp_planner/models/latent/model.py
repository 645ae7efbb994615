"""``LatentModel``: a trainable world model of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.checkpoint import load_model, save_model
from grasp_planner.models.hub import found_folder
from grasp_planner.models.hub_upload import push_model
from grasp_planner.models.latent.config import KEYPOINT_UNIT, LatentModelConfig
from grasp_planner.models.latent.encoders import build_encoder
from grasp_planner.models.latent.predictors import build_predictor
from grasp_planner.models.latent.probe import PictureDecoder, StateProbe
from grasp_planner.models.normalisation import from_environment, to_environment

# Colour differences, from 0 to 1. A pixel that differs by at most the first is ground; from the second on, it is not.
GROUND, NO_GROUND = 0.05, 0.2


class LatentModel(nn.Module):
    """A world model whose latent is learned from pictures, with proprioception appended.

        z = [encoder(picture), (proprio - mean) / std],    z' = predictor(z_{t-h+1..t}, a_{t-h+1..t})

    Encoder and predictor are trained together, without labels and without pretrained weights. A probe predicts the
    environment's state from the latent, and a decoder draws the latent. Both are trained without a gradient to the
    encoder.

    Args:
        config: sizes, encoder and predictor.

    Attributes:
        context: h, number of model steps that a prediction reads.
        frameskip: environment steps in a model step.
        pixels: side of the pictures that ``encode`` reads.
        low, high: (a,) the range of actions in the training data, in units of their standard deviation.
        scale: (s,) typical size of each latent coordinate; the same for all keypoints, so that a distance between
            latents is proportional to a distance in the picture.
        goal_weights: (s,) weights for ``GoalDistance``: 1 for visual coordinates, then ``config.proprio_weights``.

    Example:
        >>> import torch
        >>> model = LatentModel(LatentModelConfig(state_size=2, action_size=2, latent=8, channels=8))
        >>> latent = model.encode({"pixels": torch.zeros(3, 1, 64, 64, 3, dtype=torch.uint8)})
        >>> model(latent, torch.zeros(3, 1, 10)).shape
        torch.Size([3, 8])

    Source: joint-embedding world models, LeWorldModel (stable-worldmodel), and DINO-WM (arXiv 2411.04983) for appending
    proprioception. Differences: keypoints instead of a global embedding, and the rigid predictor.
    """

    low: Tensor
    high: Tensor
    action_mean: Tensor
    action_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor
    ground: Tensor

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        self.config = config
        self.context, self.frameskip, self.pixels = config.context, config.frameskip, config.pixels
        self.encoder = build_encoder(config)
        self.predictor = build_predictor(config)
        self.probe = StateProbe(config.size, config.state_size, config.angles)
        self.decoder = PictureDecoder(config.size, config.pixels)
        block = config.action_size * config.frameskip
        self.register_buffer("action_mean", torch.zeros(config.action_size))
        self.register_buffer("action_std", torch.ones(config.action_size))
        self.register_buffer("low", -torch.ones(block))
        self.register_buffer("high", torch.ones(block))
        self.register_buffer("proprio_mean", torch.zeros(config.proprio_size))
        self.register_buffer("proprio_std", torch.ones(config.proprio_size))
        self.register_buffer("ground", torch.zeros(3, config.pixels, config.pixels))

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) typical size of each latent coordinate."""
        visual = KEYPOINT_UNIT if self.config.encoder == "keypoints" else 1.0
        proprio = 1.0 if self.config.view is None else KEYPOINT_UNIT
        sizes = (visual,) * self.config.latent + (proprio,) * self.config.proprio_size
        return self.low.new_tensor(sizes)

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weight of each latent coordinate in a distance to a goal."""
        proprio = self.config.proprio_weights or (1.0,) * self.config.proprio_size
        return self.low.new_tensor((1.0,) * self.config.latent + proprio)

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the latents after one model step."""
        return self.predictor(states, actions)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode ``"pixels"`` (b, h, side, side, 3) uint8 and ``"proprio"`` (b, h, q), if the model reads it.

        Raises:
            GraspPlannerError: an observation is missing, or it has another shape or dtype.
        """
        wanted = ("pixels", "proprio") if self.config.proprio_size else ("pixels",)
        if missing := [key for key in wanted if key not in observations]:
            raise GraspPlannerError(
                f"encode needs observations[{missing[0]!r}], got the keys {sorted(observations)}; "
                f"environments draw pictures when made with pixels={self.pixels}"
            )
        pixels, side = torch.as_tensor(observations["pixels"]), self.pixels
        if pixels.ndim != 5 or pixels.shape[2:] != (side, side, 3) or pixels.dtype != torch.uint8:
            raise GraspPlannerError(
                f"observations['pixels'] must be uint8 (b, h, {side}, {side}, 3), "
                f"got {pixels.dtype} {tuple(pixels.shape)}"
            )
        pictures = pixels.to(self.low.device).flatten(0, 1).movedim(-1, 1).to(self.low) / 255.0 - 0.5
        if not self.config.proprio_size:
            return self._visual(pictures).unflatten(0, pixels.shape[:2])
        proprio = torch.as_tensor(observations["proprio"]).to(self.low)
        if proprio.shape != (*pixels.shape[:2], self.config.proprio_size):
            raise GraspPlannerError(
                f"observations['proprio'] must be (b, h, {self.config.proprio_size}) for these pictures, "
                f"got {tuple(proprio.shape)}"
            )
        proprio = (proprio - self.proprio_mean) / self.proprio_std
        if self.config.own_radius:
            pictures = self._without_itself(pictures, proprio.flatten(0, 1)[:, :2])
        visual = self._visual(pictures).unflatten(0, pixels.shape[:2])
        return torch.cat([visual, proprio], dim=-1)

    def _visual(self, pictures: Tensor) -> Tensor:
        """Encode pictures (n, 3, side, side) as visual latents (n, latent)."""
        if not self.config.still:
            return self.encoder(pictures)
        changes = (pictures - self.ground).abs().amax(1, keepdim=True)
        changes = ((changes - GROUND) / (NO_GROUND - GROUND)).clamp(0, 1)
        return self.encoder(pictures * changes, changes)

    def _without_itself(self, pictures: Tensor, places: Tensor) -> Tensor:
        """Replace the agent by the ground in pictures (n, 3, side, side); places (n, 2) are in halves of the side."""
        assert self.config.view is not None
        low, high = self.config.view
        radius = self.config.own_radius / (high - low) * self.pixels
        line = torch.arange(self.pixels, device=places.device) + 0.5
        x, y = ((places + 1) / 2 * self.pixels).unbind(-1)
        away = ((line - x[:, None]) ** 2)[:, None] + ((line - y[:, None]) ** 2)[:, :, None]
        covered = (radius + 0.5 - away.sqrt()).clamp(0, 1)[:, None]
        return pictures + covered * (self.ground - pictures)

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Predict the environment's state vector, in the environment's units, by the probe."""
        return self.probe(latents)

    def picture(self, latents: Float[Tensor, "n s"]) -> Float[Tensor, "n side side 3"]:
        """Draw latents by the decoder, as uint8 pictures."""
        colours = (self.decoder(latents).movedim(1, -1) * 255).round()
        return colours.clamp(0, 255).to(torch.uint8)

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
        return from_environment(actions, self.action_mean, self.action_std)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``, each atomically, and return the folder."""
        return save_model(self, self.config, "latent", folder)

    def push_to_hub(self, repository: str, *, license: str | None = None, private: bool = False) -> str:
        """Upload the model with a new card to the Hugging Face Hub; see ``StateModel.push_to_hub``."""
        return push_model(self, repository, license, private)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | torch.device = "cpu") -> LatentModel:
        """Load the model from a folder or from ``"owner/name"`` on the Hub, frozen and in evaluation mode.

        Raises:
            GraspPlannerError: files are missing or truncated, or do not fit together; the Hub cannot be reached.
        """
        return load_model(cls, LatentModelConfig, found_folder(name_or_folder), device)
