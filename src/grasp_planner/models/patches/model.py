"""``PatchModel``: a world model on the patch tokens of a frozen encoder, as in DINO-WM and JEPA-WMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.normalisation import Statistics, block_bounds, from_environment, to_environment
from grasp_planner.models.patches.layout import Layout
from grasp_planner.models.picture_transform import Pictures
from grasp_planner.models.short_windows import by_length, marked, repeated
from grasp_planner.models.use_settings import UseSettings

Encoder = Callable[[Tensor], Tensor]
"""A function of normalised pictures ``(n, 3, side, side)`` that returns patch tokens ``(n, p, d)``."""


class PatchModel(nn.Module):
    """A world model whose latent is one frame (patch tokens and proprioception, flattened) and a mark.

        s = [ frame (tokens * width numbers) , mark ]      mark: 0 for a frame, 1000 for a missing frame
        s_{t+1} = predictor( frames t-h+1..t with their embedded actions, oldest first )

    These models are trained on windows of every length up to h. A window in which only the newest k < h frames were
    observed is predicted from k frames. ``encode`` treats leading frames that repeat the next frame as missing.
    ``Agent`` fills a window in this way at the beginning of an episode. With ``context`` 1 there is no mark. See
    ``grasp_planner.models.short_windows``.

    Args:
        core: ``core(frames (n, k, tokens, width), actions (n, k, a)) -> (n, tokens, width)``, for any k up to h.
        layout: composition of a frame's latent.
        encoder: module that maps normalised pictures to patch tokens.
        proprio: module that embeds normalised proprioception; ``None``: the model reads no proprioception.
        pictures: transform of camera pictures.
        statistics: statistics for the normalisation of actions and proprioception.
        context: h, number of frames that one prediction reads.
        frameskip: environment steps in a model step.
        use: settings for planning.

    Attributes:
        context: h.
        frameskip: environment steps in a model step.
        low, high: (a,) bounds of a model action, in normalised units.
        scale: (s,) typical size of each latent coordinate.
        goal_weights: (s,) weights for ``GoalDistance`` that make it the published objective.

    Raises:
        GraspPlannerError: sizes do not fit together.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    goal_weights: Tensor
    action_mean: Tensor
    action_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor

    def __init__(
        self,
        core: nn.Module,
        layout: Layout,
        encoder: Encoder,
        proprio: nn.Linear | None,
        *,
        pictures: Pictures,
        statistics: Statistics,
        context: int,
        frameskip: int,
        use: UseSettings | None = None,
    ) -> None:
        super().__init__()
        use = UseSettings() if use is None else use
        self.core, self.layout, self.encoder, self.proprio = core, layout, encoder, proprio
        self.pictures, self.context, self.frameskip = pictures, context, frameskip
        self.history = use.frames(context)
        if proprio is not None and proprio.in_features != len(statistics.proprio_mean):
            raise GraspPlannerError(
                f"the model reads {proprio.in_features} proprioceptive numbers; the statistics are for "
                f"{len(statistics.proprio_mean)}. Were they computed from the data that it was trained on?"
            )
        low, high = block_bounds(statistics, frameskip, use.bounds)
        size = layout.size + self.marks
        scale = torch.full((size,), float(use.scale))
        weights = torch.cat([layout.goal_weights(use.alpha), torch.zeros(self.marks)])
        for name, value in (("low", low), ("high", high), ("scale", scale), ("goal_weights", weights * scale**2)):
            self.register_buffer(name, value)
        for name in ("action_mean", "action_std", "proprio_mean", "proprio_std"):
            self.register_buffer(name, torch.tensor(getattr(statistics, name)))

    @property
    def marks(self) -> int:
        """Number of marks in a latent: 1, or 0 for a model of context 1."""
        return 0 if self.context == 1 else 1

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the frame that follows each window."""
        if not self.marks:
            return self._after(states, actions)
        return by_length(self._after, states, actions)

    def _after(self, frames: Tensor, actions: Tensor) -> Tensor:
        return self.core(frames.unflatten(-1, self.layout.shape), actions).flatten(1)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode ``"pixels"`` (b, h, height, width, 3) uint8 and ``"proprio"`` (b, h, numbers), not normalised.

        Raises:
            GraspPlannerError: an observation is missing or has another shape.
        """
        keys = ("pixels",) if self.proprio is None else ("pixels", "proprio")
        if missing := [key for key in keys if key not in observations]:
            raise GraspPlannerError(f"encode needs observations {missing}, got the keys {sorted(observations)}")
        given = {key: torch.as_tensor(observations[key]) for key in keys}
        frames = self.pictures(given["pixels"], self.low)
        proprio = None
        if self.proprio is not None:
            raw = given["proprio"].to(self.low)
            wanted = (*given["pixels"].shape[:2], self.proprio.in_features)
            if tuple(raw.shape) != wanted:
                raise GraspPlannerError(f"observations['proprio'] must be {wanted}, got {tuple(raw.shape)}")
            proprio = self.proprio(((raw - self.proprio_mean) / self.proprio_std).flatten(0, 1))
        latents = self.layout.pack(self.encoder(frames), proprio).unflatten(0, given["pixels"].shape[:2])
        if not self.marks:
            return latents
        return marked(latents, repeated(given, keys).to(latents.device), self.history)

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
        return from_environment(actions, self.action_mean, self.action_std)


def for_planning(model: PatchModel, action_size: int, device: str | torch.device) -> PatchModel:
    """Move a model to a device, frozen and in evaluation mode.

    Args:
        model: a new model.
        action_size: numbers in an action block, according to the weights.
        device: device of the tensors.

    Raises:
        GraspPlannerError: the statistics are for actions of another size.
    """
    if len(model.low) != action_size:
        raise GraspPlannerError(
            f"the model takes {action_size} action numbers; {model.frameskip} steps with statistics of "
            f"{len(model.action_mean)} make {len(model.low)}"
        )
    return model.to(device).eval().requires_grad_(False)
