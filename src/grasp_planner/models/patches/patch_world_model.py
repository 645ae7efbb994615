"""``PatchWorldModel``: a trainable world model on the patch features of a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.checkpoint import load_model, save_model
from grasp_planner.models.latent.probe import StateProbe
from grasp_planner.models.normalisation import from_environment, to_environment
from grasp_planner.models.patches.components import Components
from grasp_planner.models.patches.patch_model_config import PatchModelConfig
from grasp_planner.models.patches.pretrained import build_encoder, picture_transform
from grasp_planner.models.patches.residual_predictor import ResidualPredictor
from grasp_planner.models.short_windows import by_length, marked, repeated

PROBE_WIDTH = 256


class PatchWorldModel(nn.Module):
    """A world model whose latent is the principal components of a pretrained encoder's patch features.

        z = [components(encoder(picture)), (proprio - mean) / std],    z' = predictor(z_{t-h+1..t}, a_{t-h+1..t})

    The encoder was trained on other pictures, and is frozen. Its weights are stored with the model. Only the predictor
    is trained; a probe, which gives no gradient to it, predicts the environment's state from the latent.

    For a context h > 1, a latent has one more coordinate, the mark of ``models.short_windows``: a plan can start after
    a single observed frame. With context 1 there is no mark.

    Args:
        config: sizes, encoder and predictor.

    Attributes:
        context: h, number of model steps that a prediction reads.
        frameskip: environment steps in a model step.
        pixels: side of the pictures that ``encode`` reads.
        low, high: (a,) the range of actions in the training data, in units of their standard deviation.
        scale: (s,) ones: principal components and proprioception have unit variance.
        goal_weights: (s,) weights for ``GoalDistance``, which make the visual part the distance of the features.

    Example:
        >>> import torch
        >>> model = PatchWorldModel(PatchModelConfig(state_size=2, action_size=2, components=4, width=32, hidden=64))
        >>> latent = model.encode({"pixels": torch.zeros(3, 1, 64, 64, 3, dtype=torch.uint8)})
        >>> model(latent, torch.zeros(3, 1, 10)).shape
        torch.Size([3, 64])

    Source: DINO-WM (arXiv 2411.04983). Differences: principal components of the features; other encoders; residual
    predictions; open-loop unrolls in training.
    """

    low: Tensor
    high: Tensor
    action_mean: Tensor
    action_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor

    def __init__(self, config: PatchModelConfig) -> None:
        super().__init__()
        self.config = config
        self.context, self.frameskip, self.pixels = config.context, config.frameskip, config.pixels
        self.pictures = picture_transform(config)
        self.encoder, width = build_encoder(config)
        self.encoder.requires_grad_(False)
        self.components = Components(config.patches, width, config.components)
        self.predictor = ResidualPredictor(config)
        self.probe = StateProbe(config.size, config.state_size, config.angles, PROBE_WIDTH)
        block = config.action_size * config.frameskip
        self.register_buffer("action_mean", torch.zeros(config.action_size))
        self.register_buffer("action_std", torch.ones(config.action_size))
        self.register_buffer("low", -torch.ones(block))
        self.register_buffer("high", torch.ones(block))
        self.register_buffer("proprio_mean", torch.zeros(config.proprio_size))
        self.register_buffer("proprio_std", torch.ones(config.proprio_size))

    @property
    def marks(self) -> int:
        """Number of marks in a latent: 1, or 0 for a model of context 1."""
        return 0 if self.context == 1 else 1

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) typical size of each latent coordinate."""
        return self.low.new_ones(self.config.size + self.marks)

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weight of each latent coordinate in a distance to a goal.

        The weighted sum of squares is the number of visual coordinates times (mean squared distance of the features +
        alpha * mean squared distance of the proprioception).
        """
        config = self.config
        visual = self.components.variances.repeat(config.patches)
        proprio = visual.new_tensor(config.proprio_weights or (1.0,) * config.proprio_size)
        if config.proprio_size:
            proprio = proprio * (config.alpha * config.visual / max(float(proprio.sum()), 1e-12))
        return torch.cat([visual, proprio, visual.new_zeros(self.marks)])

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the latents after one model step."""
        if not self.marks:
            return self._after(states, actions)
        return by_length(self._after, states, actions)

    def _after(self, frames: Tensor, actions: Tensor) -> Tensor:
        return self.predictor(frames, actions)[:, -1]

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode ``"pixels"`` (b, h, side, side, 3) uint8 and ``"proprio"`` (b, h, q), if the model reads it.

        Raises:
            GraspPlannerError: an observation is missing, or it has another shape or dtype.
        """
        keys = ("pixels", "proprio") if self.config.proprio_size else ("pixels",)
        if missing := [key for key in keys if key not in observations]:
            raise GraspPlannerError(
                f"encode needs observations[{missing[0]!r}], got the keys {sorted(observations)}; "
                f"environments draw pictures when made with pixels={self.pixels}"
            )
        given = {key: torch.as_tensor(observations[key]).to(self.low.device) for key in keys}
        visual = self.visual(given["pixels"])
        latents = self.with_proprio(visual, given["proprio"]) if self.config.proprio_size else visual
        if not self.marks:
            return latents
        return marked(latents, repeated(given, keys), self.context)

    def visual(self, pixels: Tensor) -> Float[Tensor, "b h v"]:
        """Encode pictures (b, h, side, side, 3) uint8 as visual latents.

        Raises:
            GraspPlannerError: the pictures have another shape or dtype.
        """
        side = self.pixels
        if pixels.ndim != 5 or pixels.shape[2:] != (side, side, 3) or pixels.dtype != torch.uint8:
            raise GraspPlannerError(
                f"observations['pixels'] must be uint8 (b, h, {side}, {side}, 3), "
                f"got {pixels.dtype} {tuple(pixels.shape)}"
            )
        features = self.encoder(self.pictures(pixels, self.low))
        return self.components(features).flatten(1).unflatten(0, pixels.shape[:2])

    def with_proprio(self, visual: Float[Tensor, "b h v"], proprio: Tensor) -> Float[Tensor, "b h s"]:
        """Append the normalised proprioception (b, h, q) to visual latents.

        Raises:
            GraspPlannerError: the proprioception has another shape.
        """
        if proprio.shape != (*visual.shape[:2], self.config.proprio_size):
            raise GraspPlannerError(
                f"observations['proprio'] must be (b, h, {self.config.proprio_size}) for these pictures, "
                f"got {tuple(proprio.shape)}"
            )
        return torch.cat([visual, (proprio.to(self.low) - self.proprio_mean) / self.proprio_std], dim=-1)

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Predict the environment's state vector, in the environment's units, by the probe."""
        return self.probe(latents[..., : self.config.size])

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
        return from_environment(actions, self.action_mean, self.action_std)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``, each atomically, and return the folder."""
        return save_model(self, self.config, "patches", folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> PatchWorldModel:
        """Load the model saved in ``folder``, frozen and in evaluation mode.

        Raises:
            GraspPlannerError: files are missing or truncated, or they do not fit together.
        """
        return load_model(cls, PatchModelConfig, folder, device)
