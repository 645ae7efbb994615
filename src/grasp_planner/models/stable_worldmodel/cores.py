"""Adapters for the kinds of models in stable-worldmodel, one class for each kind of interface.

stable-worldmodel is not imported. Its models are used through the attributes and methods that each class lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, known_name


class Core(Protocol):
    """The interface of an adapter for one kind of models.

    Attributes:
        context: h, number of frames that one prediction reads.
        size: s, numbers in the latent of a frame.
        keys: the observations that ``encode`` reads.
    """

    context: int
    size: int
    keys: tuple[str, ...]

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Encode observations, given in the form that the model reads."""
        ...

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """Predict the latent that follows a window of k <= context frames."""
        ...

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """Return masks of the parts of a latent, by the names in stable-worldmodel's ``GoalMSE``."""
        ...


class EmbeddingCore(nn.Module):
    """LeWM and PLDM: one vector per frame, and a predictor over a window of frames and embedded action blocks.

    Args:
        model: a model with ``encode(info)["emb"]``, ``action_encoder``, ``predict``, ``predictor.num_frames,
            .input_dim``.
    """

    keys: tuple[str, ...] = ("pixels",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.context = int(needed(model, "predictor.num_frames"))
        self.size = int(needed(model, "predictor.input_dim"))

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Encode the pixels. Actions are not passed to the model, since they are NaN right after a reset."""
        return self.model.encode({"pixels": observations["pixels"]})["emb"]

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """Predict the embeddings, and return the last one."""
        return self.model.predict(frames, self.model.action_encoder(actions))[:, -1]

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """Return the whole embedding."""
        return {"emb": torch.ones(self.size)}


class PreJEPACore(nn.Module):
    """PreJEPA (DINO-WM in stable-worldmodel): patch tokens with extra embeddings, including the action's embedding.

    The latent is a frame without the action's embedding, which is inserted for each prediction. The model's own
    ``rollout`` is not used, since it stores the first context that it sees on the model.

    Args:
        model: a model with ``encode``, ``predict``, ``extra_encoders`` with an ``"action"``, ``history_size``, and
            ``predictor.num_patches, .pos_embedding``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        extras = dict(needed(model, "extra_encoders").items())
        if "action" not in extras:
            raise GraspPlannerError(f"a PreJEPA model needs an 'action' among extra_encoders, got {sorted(extras)}")
        self.context = int(needed(model, "history_size"))
        self.patches = int(needed(model, "predictor.num_patches"))
        self.widths = {name: int(encoder.emb_dim) for name, encoder in extras.items()}
        self.pixels = needed(model, "predictor.pos_embedding").shape[-1] - sum(self.widths.values())
        self.others = tuple(name for name in self.widths if name != "action")
        self.width = self.pixels + sum(self.widths[name] for name in self.others)
        self.size = self.patches * self.width
        self.keys: tuple[str, ...] = ("pixels", *self.others)

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Encode patch tokens with all extra embeddings except the action's."""
        given = {key: observations[key] for key in self.keys}
        return self.model.encode(given, emb_keys=list(self.others))["emb"].flatten(2)

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """Predict the last frame, and remove the action's embedding from it."""
        tokens = frames.unflatten(-1, (self.patches, self.width))
        done = self.model.extra_encoders["action"](actions)[:, :, None].expand(-1, -1, self.patches, -1)
        place = self._place()
        filled = torch.cat([tokens[..., :place], done, tokens[..., place:]], dim=-1)
        after = self.model.predict(filled)[:, -1]
        return torch.cat([after[..., :place], after[..., place + self.widths["action"] :]], dim=-1).flatten(1)

    def _place(self) -> int:
        """Return the index where the action's embedding begins. Extras follow the pixels in the encoders' order."""
        names = list(self.widths)
        return self.pixels + sum(self.widths[name] for name in names[: names.index("action")])

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """Return masks of the pixels, and of each extra embedding in the first patch token."""
        found: dict[str, Tensor] = {}
        start = self.pixels
        for name in self.others:
            mask = torch.zeros(self.patches, self.width)
            mask[0, start : start + self.widths[name]] = 1.0
            found[f"{name}_emb"] = mask.flatten()
            start += self.widths[name]
        mask = torch.zeros(self.patches, self.width)
        mask[:, : self.pixels] = 1.0
        return {"pixels_emb": mask.flatten(), **found}


class TDMPC2Core(nn.Module):
    """TD-MPC2: a Markov latent. Its reward and value heads are used in ``returns.py``, for plans without a goal.

    Args:
        model: a model with ``encode``, ``dynamics``, ``latent_dim``, ``use_pixels`` and ``extra_encoders``.
    """

    context = 1

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.size = int(needed(model, "latent_dim"))
        extras = tuple(needed(model, "extra_encoders").keys())
        self.keys: tuple[str, ...] = (("pixels",) if needed(model, "use_pixels") else ()) + extras

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Encode the observations in ``keys``."""
        return self.model.encode({key: observations[key] for key in self.keys})

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """Predict one step from the last frame."""
        return self.model.dynamics(torch.cat([frames[:, -1], actions[:, -1]], dim=-1))

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """Return the whole latent."""
        return {"emb": torch.ones(self.size)}


CORES: dict[str, type[EmbeddingCore] | type[PreJEPACore] | type[TDMPC2Core]] = {
    "LeWM": EmbeddingCore,
    "PLDM": EmbeddingCore,
    "PreJEPA": PreJEPACore,
    "TDMPC2": TDMPC2Core,
}


def core_of(model: nn.Module, kind: str | None = None) -> EmbeddingCore | PreJEPACore | TDMPC2Core:
    """Make the adapter for a model of stable-worldmodel.

    Args:
        model: the model; it becomes a part of the adapter and is not copied.
        kind: a name in ``CORES``; ``None``: the name of the model's class.

    Raises:
        GraspPlannerError: the kind is unknown, or the model lacks an attribute of its kind.
    """
    name = type(model).__name__ if kind is None else kind
    return CORES[known_name("kind of stable-worldmodel model", name, CORES)](model)


def goal_weights(core: Core, alpha: float) -> Float[Tensor, " s"]:
    """Compute weights for a squared distance to a goal.

    The weighted sum of squares is proportional to the mean squared distance of the pixels + alpha * the mean squared
    distance of each other part. The weights of the pixels are 1.
    """
    parts = core.parts()
    first, *others = parts.values()
    return first + sum((alpha * math.fsum(first.tolist()) / float(mask.sum()) * mask for mask in others), 0.0)


def needed(model: nn.Module, name: str) -> Any:
    """Read an attribute by dotted name.

    Raises:
        GraspPlannerError: there is no such attribute.
    """
    value: Any = model
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise GraspPlannerError(
                f"{type(model).__name__} must have {name}, as stable-worldmodel's models of that kind do; it has none"
            ) from error
    return value
