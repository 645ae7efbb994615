"""``PatchModel``: world models on patch tokens of a frozen encoder, as DINO-WM and JEPA-WMs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.history import by_length, check_history, marked, repeated
from grasp_planner.models.patches.layout import Layout
from grasp_planner.models.pictures import Pictures
from grasp_planner.models.units import Statistics, block_bounds, from_environment, to_environment

Encoder = Callable[[Tensor], Tensor]
"""Normalised pictures ``(n, 3, side, side)`` to patch tokens ``(n, p, d)``."""


@dataclass(frozen=True)
class UseSettings:
    """How a loaded model is used for planning; nothing that a checkpoint knows.

    Args:
        alpha: weight of the proprioceptive distance to a goal beside the visual one, both means of squares. DINO-WM
            uses 0 on PointMaze and 1 on Wall and Push-T, JEPA-WMs 0.1.
        history: frames that were seen and may be read, at most the model's context; ``None``: all of it. 1 is the
            published protocol of both: every plan starts from a single frame, and only predicted frames join it.
        bounds: lowest and highest environment action; ``None``: three standard deviations around the mean.
        scale: typical size of a latent coordinate.

    Raises:
        GraspPlannerError: a number is out of range.
    """

    alpha: float = 1.0
    history: int | None = None
    bounds: tuple[float, float] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("alpha", 0.0), ("scale", 1e-12)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
                raise GraspPlannerError(f"UseSettings.{name} must be a number of at least {least}, got {value!r}")


class PatchModel(nn.Module):
    """A world model whose latent is one frame of patch tokens, with proprioception, flat, and a mark.

        s = [ frame (tokens * width numbers) , mark ]      mark: 0 for a frame, large where none was seen yet
        s_{t+1} = predictor( frames t-h+1..t with the embedded actions put in, oldest first )

    A window of which only the newest k < h frames were seen is predicted from k frames, as these models were trained
    on and are rolled out: leading frames in ``encode`` that only repeat the next one are taken for missing, which is
    what ``Agent`` hands over at the beginning. With ``context`` 1 there is no mark.

    Args:
        core: ``core(frames (n, k, tokens, width), actions (n, k, a)) -> (n, tokens, width)``, for any k up to h.
        layout: what a frame consists of.
        encoder: normalised pictures to patch tokens.
        proprio: embeds normalised proprioception; ``None`` where the model has none.
        pictures: how camera pictures are prepared.
        statistics: by which actions and proprioception are normalised.
        context: h.
        frameskip: environment steps in a model step.
        use: how the model is used for planning.

    Attributes:
        context: h.
        frameskip: environment steps in a model step.
        low, high: (a,) bounds of a model action, in normalised units.
        scale: (s,) typical size of each latent coordinate.
        goal_weights: (s,) for ``GoalDistance``: the published objective in these units.

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
        self.history = check_history(use.history, context)
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
        """Coordinates of a latent after the frame: one where a window can be short."""
        return 0 if self.context == 1 else 1

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """The frame that follows each window."""
        if not self.marks:
            return self._after(states, actions)
        return by_length(self._after, states, actions)

    def _after(self, frames: Tensor, actions: Tensor) -> Tensor:
        return self.core(frames.unflatten(-1, self.layout.shape), actions).flatten(1)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Latents of ``"pixels"`` (b, h, height, width, 3) uint8 and ``"proprio"`` (b, h, numbers), raw.

        Raises:
            GraspPlannerError: one of them is missing or of another shape.
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
        absent = repeated(given, keys).to(latents.device)
        absent[:, : max(0, absent.shape[1] - self.history)] = True
        return marked(latents, absent)

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """The environment actions in each block, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """The inverse: blocks of environment actions in the model's units."""
        return from_environment(actions, self.action_mean, self.action_std)
