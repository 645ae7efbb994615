"""``LatentModel``: a trainable world model of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.checkpoint import CONFIG_FILE, load_model, read_config, save_model
from grasp_planner.models.hub import found_folder
from grasp_planner.models.hub_upload import push_model
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.encoders import build_encoder
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.latent.predictors import build_predictor
from grasp_planner.models.latent.probe import PictureDecoder, StateProbe
from grasp_planner.models.normalisation import from_environment, to_environment
from grasp_planner.models.short_windows import by_length, marked, repeated

CONFIGS = {one.kind: one for one in (LatentModelConfig, PatchModelConfig)}
"""Kind of model in ``config.json`` -> configuration."""


class LatentModel(nn.Module):
    """A trainable world model of pictures: the latent is an encoded picture, with proprioception appended.

        z = [encoder(picture), (proprio - mean) / std],    z' = predictor(z_{t-h+1..t}, a_{t-h+1..t})

    The configuration chooses the parts:

    - ``LatentModelConfig``: a small encoder that is trained together with the predictor, without labels and without
      pretrained weights, and a decoder, which draws the latent;
    - ``PatchModelConfig``: a pretrained, frozen encoder, whose weights are stored with the model, and a transformer
      that predicts the principal components of the encoder's patch features.

    A probe predicts the environment's state from the latent. Probe and decoder give no gradient to the other parts.

    If the predictor also reads fewer than h frames, a latent has one more coordinate, the mark of
    ``models.short_windows``: a plan can start after a single observed frame.

    Args:
        config: sizes, encoder and predictor.

    Attributes:
        context: h, number of model steps that a prediction reads.
        frameskip: environment steps in a model step.
        pixels: side of the pictures that ``encode`` reads.
        low, high: (a,) the range of actions in the training data, in units of their standard deviation.
        scale: (s,) typical size of each latent coordinate; the same for all visual coordinates, so that a distance
            between keypoints is proportional to a distance in the picture.
        goal_weights: (s,) weights for ``GoalDistance``: 1 for keypoints; for patches, the weights that make the visual
            part the distance of the features.

    Example:
        >>> import torch
        >>> model = LatentModel(LatentModelConfig(state_size=2, action_size=2, latent=8, channels=8))
        >>> latent = model.encode({"pixels": torch.zeros(3, 1, 64, 64, 3, dtype=torch.uint8)})
        >>> model(latent, torch.zeros(3, 1, 10)).shape
        torch.Size([3, 8])

    Source: joint-embedding world models, LeWorldModel (stable-worldmodel), and DINO-WM (arXiv 2411.04983) for
    proprioception and patch features. Differences: keypoints instead of a global embedding; the rigid predictor;
    principal components of the features; residual predictions.
    """

    low: Tensor
    high: Tensor
    action_mean: Tensor
    action_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor
    ground: Tensor

    def __init__(self, config: LatentModelConfig | PatchModelConfig) -> None:
        super().__init__()
        self.config = config
        self.context, self.frameskip, self.pixels = config.context, config.frameskip, config.pixels
        self.transform, self.camera = config.transform, config.camera
        self.encoder = build_encoder(config)
        self.predictor = build_predictor(config)
        self.probe = StateProbe(config.size, config.state_size, config.angles, config.probe_width)
        self.decoder = None if config.pretrained else PictureDecoder(config.size, config.pixels)
        self.marks = int(self.predictor.shortest < config.context)
        block = config.action_size * config.frameskip
        self.register_buffer("action_mean", torch.zeros(config.action_size))
        self.register_buffer("action_std", torch.ones(config.action_size))
        self.register_buffer("low", -torch.ones(block))
        self.register_buffer("high", torch.ones(block))
        self.register_buffer("proprio_mean", torch.zeros(config.proprio_size))
        self.register_buffer("proprio_std", torch.ones(config.proprio_size))
        if self.camera is not None:
            self.register_buffer("ground", torch.zeros(3, config.pixels, config.pixels))

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) typical size of each latent coordinate."""
        visual, proprio = self.config.units
        sizes = (visual,) * self.config.visual + (proprio,) * self.config.proprio_size + (1.0,) * self.marks
        return self.low.new_tensor(sizes)

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weight of each latent coordinate in a distance to a goal."""
        visual = self.low.new_ones(self.config.visual) * self.encoder.goal_weight
        return torch.cat([visual, self.low.new_tensor(self.config.goal_proprio + (0.0,) * self.marks)])

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the latents after one model step."""
        if self.marks:
            return by_length(self._after, states, actions)
        return self._after(states, actions)

    def _after(self, frames: Tensor, actions: Tensor) -> Tensor:
        return self.predictor(frames, actions)[:, -1]

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode ``"pixels"`` (b, h, side, side, 3) uint8 and ``"proprio"`` (b, h, q), if the model reads it.

        Raises:
            GraspPlannerError: an observation is missing, or it has another shape or dtype.
        """
        keys = self.config.keys
        if missing := [key for key in keys if key not in observations]:
            raise GraspPlannerError(
                f"encode needs observations[{missing[0]!r}], got the keys {sorted(observations)}; "
                f"environments draw pictures when made with pixels={self.pixels}"
            )
        given = {key: torch.as_tensor(observations[key]).to(self.low.device) for key in keys}
        latents = self.with_proprio(self.visual(given), given)
        if not self.marks:
            return latents
        return marked(latents, repeated(given, keys), self.context)

    def visual(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h v"]:
        """Encode the pictures; models with ``own_radius`` read the proprioception, too.

        Raises:
            GraspPlannerError: an observation has another shape or dtype.
        """
        return self.encoder(*self.inputs(observations)).unflatten(0, observations["pixels"].shape[:2])

    def inputs(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs of the encoder: pictures (b h, 3, side, side), and what is known about the camera.

        Raises:
            GraspPlannerError: an observation has another shape or dtype.
        """
        pixels, side = observations["pixels"], self.pixels
        if pixels.ndim != 5 or pixels.shape[2:] != (side, side, 3) or pixels.dtype != torch.uint8:
            raise GraspPlannerError(
                f"observations['pixels'] must be uint8 (b, h, {side}, {side}, 3), "
                f"got {pixels.dtype} {tuple(pixels.shape)}"
            )
        pictures = self.transform(pixels, self.low)
        if self.camera is None:
            return (pictures,)
        proprio = self._proprio(observations, pixels.shape[:2]) if self.config.proprio_size else None
        return self.camera.seen(pictures, self.ground, None if proprio is None else proprio.flatten(0, 1))

    def with_proprio(
        self, visual: Float[Tensor, "b h v"], observations: Mapping[str, Tensor]
    ) -> Float[Tensor, "b h v_plus_q"]:
        """Append the normalised proprioception to visual latents, if the model reads proprioception.

        Raises:
            GraspPlannerError: the proprioception has another shape.
        """
        if not self.config.proprio_size:
            return visual
        return torch.cat([visual, self._proprio(observations, visual.shape[:2])], dim=-1)

    def _proprio(self, observations: Mapping[str, Tensor], rows: torch.Size) -> Tensor:
        proprio = observations["proprio"].to(self.low)
        if proprio.shape != (*rows, self.config.proprio_size):
            raise GraspPlannerError(
                f"observations['proprio'] must be (b, h, {self.config.proprio_size}) for these pictures, "
                f"got {tuple(proprio.shape)}"
            )
        return (proprio - self.proprio_mean) / self.proprio_std

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Predict the environment's state vector, in the environment's units, by the probe."""
        return self.probe(latents[..., : self.config.size])

    def picture(self, latents: Float[Tensor, "n s"]) -> Float[Tensor, "n side side 3"]:
        """Draw latents by the decoder, as uint8 pictures.

        Raises:
            GraspPlannerError: the model has no decoder, since its encoder is pretrained.
        """
        if self.decoder is None:
            raise GraspPlannerError("a model on the features of a pretrained encoder has no decoder to draw with")
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
        return save_model(self, self.config, self.config.kind, folder)

    def push_to_hub(self, repository: str, *, license: str | None = None, private: bool = False) -> str:
        """Upload the model with a new card to the Hugging Face Hub; see ``StateModel.push_to_hub``."""
        return push_model(self, repository, license, private)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | torch.device = "cpu") -> LatentModel:
        """Load the model from a folder or from ``"owner/name"`` on the Hub, as ``StateModel.from_pretrained`` does.

        Raises:
            GraspPlannerError: files are missing or truncated, they do not fit together, or they hold another kind of
                model; or the Hub cannot be reached.
        """
        folder = found_folder(name_or_folder)
        kind = str(read_config(folder).get("kind"))
        if kind not in CONFIGS:
            raise unknown_name(f"kind of a LatentModel in {folder / CONFIG_FILE}", kind, CONFIGS)
        return load_model(cls, CONFIGS[kind], folder, device)
