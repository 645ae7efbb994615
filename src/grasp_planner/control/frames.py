"""Frames: the observations of all environments of an agent at one moment, checked and copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planning.memory import is_out_of_memory

Observation = Mapping[str, Any]
Frame = dict[str, Tensor]
"""Arrays (b, ...) of one moment, by key."""


def frame_of(observation: Observation, batch: int | None, name: str) -> Frame:
    """Copy the arrays of an observation, with a batch axis in front.

    Args:
        observation: arrays of one moment; with a batch axis unless ``batch`` is ``None``.
        batch: the number of environments; ``None`` for a single environment without a batch axis.
        name: name of the observation in error messages.

    Raises:
        GraspPlannerError: ``observation`` is not a mapping of arrays of numbers for ``batch`` environments.
    """
    if not isinstance(observation, Mapping) or not observation:
        or_latents = " or a tensor of latents" if name == "goal" else ""
        raise GraspPlannerError(f"{name} must be a mapping of arrays{or_latents}, got {type(observation).__name__}")
    frame: Frame = {}
    for key, value in observation.items():
        try:
            frame[key] = torch.as_tensor(value).clone()  # the environment may overwrite its own array
        except (TypeError, ValueError, RuntimeError) as error:
            raise GraspPlannerError(f"{name}[{key!r}] must be an array of numbers: {error}") from error
    if batch is None:
        return {key: value[None] for key, value in frame.items()}
    for key, value in frame.items():
        if value.ndim == 0 or value.shape[0] != batch:
            raise GraspPlannerError(
                f"{name}[{key!r}] must have {batch} environments in front, got {tuple(value.shape)}"
            )
    return frame


LATENT = "latent"
"""The key of a frame that holds latents (b, s) in place of arrays that ``model.encode`` reads."""


def latent_frame(goal: Tensor, model: WorldModel, batch: int | None) -> Frame:
    """Copy a goal that is given as latents ``(b, s)``, or ``(s,)`` for all environments.

    Raises:
        GraspPlannerError: the tensor has another shape, or holds no numbers.
    """
    environments, size = batch or 1, len(model.scale)
    if tuple(goal.shape) not in ((environments, size), (size,)) or goal.dtype == torch.bool or goal.is_complex():
        raise GraspPlannerError(
            f"goal must be latents {(environments, size)} or {(size,)}, got {tuple(goal.shape)} {goal.dtype}"
        )
    return {LATENT: goal.detach().to(model.scale).expand(environments, -1).clone()}


def differing(first: Frame, second: Frame) -> Bool[Tensor, " b"]:
    """Return which environments have different values in two frames.

    Raises:
        GraspPlannerError: the frames have different keys or shapes.
    """
    if first.keys() != second.keys() or any(first[key].shape != second[key].shape for key in first):
        shapes, before = ({key: tuple(value.shape) for key, value in frame.items()} for frame in (first, second))
        raise GraspPlannerError(
            f"goal must be {before} like the first one, got {shapes}: call reset() for another kind"
        )
    return ~torch.stack([(first[key] == second[key]).flatten(1).all(1).cpu() for key in first]).all(0)


def merged(rows: Bool[Tensor, " b"], where_true: Frame, where_false: Frame) -> Frame:
    """Return a frame with some environments' values from one frame and the rest from another frame."""
    return {
        key: torch.where(rows.to(new.device).reshape(-1, *[1] * (new.ndim - 1)), new, where_false[key])
        for key, new in where_true.items()
    }


def encoded(model: WorldModel, frames: Sequence[Frame], name: str) -> Float[Tensor, "b h s"]:
    """Encode h consecutive frames, oldest first. The latents need not be finite.

    Raises:
        GraspPlannerError: the model returns another shape or dtype, or runs out of memory.
    """
    stacked = {key: torch.stack([frame[key] for frame in frames], dim=1) for key in frames[-1]}
    environments = len(next(iter(stacked.values())))
    try:
        with planning_mode(model.low.device, model):
            latents = model.encode(stacked)
    except GraspPlannerError as error:
        if name != "goal":
            raise
        raise GraspPlannerError(f"the goal cannot be encoded: {error}".replace("observations", "goal")) from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise GraspPlannerError(
            f"out of memory while encoding the {name} of {environments} environments: drive fewer at a time"
        ) from error
    scale = model.scale
    expected = (environments, len(frames), len(scale))
    if not isinstance(latents, Tensor) or latents.shape != expected or latents.dtype != scale.dtype:
        got = f"{tuple(latents.shape)} {latents.dtype}" if isinstance(latents, Tensor) else type(latents).__name__
        raise GraspPlannerError(f"model.encode({name}) must return {expected} {scale.dtype}, got {got}")
    return latents
