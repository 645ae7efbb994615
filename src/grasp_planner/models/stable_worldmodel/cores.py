"""What stable-worldmodel's models have in common for a planner, one class for each kind of interface.

The package itself is not imported: its models are used through the attributes and methods that are named here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError


class Core(Protocol):
    """The part that differs from one kind of model to another."""

    context: int
    size: int
    keys: tuple[str, ...]

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Latents of observations as the model takes them."""
        ...

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """The latent that follows a window of k <= context frames."""
        ...

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """Which coordinates are compared under the names that ``GoalMSE`` uses for them, as masks."""
        ...


class EmbeddingCore(nn.Module):
    """LeWM and PLDM: one vector a frame, a predictor over a window of frames and embedded action blocks.

    Args:
        model: has ``encode(info)["emb"]``, ``action_encoder``, ``predict``, and ``predictor.num_frames, .input_dim``.
    """

    keys: tuple[str, ...] = ("pixels",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.context = int(_needed(model, "predictor.num_frames"))
        self.size = int(_needed(model, "predictor.input_dim"))

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """The embeddings; actions are never handed over, since they are NaN right after a reset."""
        return self.model.encode({"pixels": observations["pixels"]})["emb"]

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """The last of the predicted embeddings."""
        return self.model.predict(frames, self.model.action_encoder(actions))[:, -1]

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """The whole embedding."""
        return {"emb": torch.ones(self.size)}


class PreJEPACore(nn.Module):
    """PreJEPA (DINO-WM in stable-worldmodel): patch tokens with extra embeddings, among them the action's.

    The latent is a frame without the action's place; that is filled in for each prediction. ``rollout`` of the model
    is not used: it keeps the first context it saw on the model.

    Args:
        model: has ``encode``, ``predict``, ``extra_encoders`` with an ``"action"``, ``history_size``, and
            ``predictor.num_patches, .pos_embedding``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        extras = dict(_needed(model, "extra_encoders").items())
        if "action" not in extras:
            raise GraspPlannerError(f"a PreJEPA model needs an 'action' among extra_encoders, got {sorted(extras)}")
        self.context = int(_needed(model, "history_size"))
        self.patches = int(_needed(model, "predictor.num_patches"))
        self.widths = {name: int(encoder.emb_dim) for name, encoder in extras.items()}
        self.pixels = _needed(model, "predictor.pos_embedding").shape[-1] - sum(self.widths.values())
        self.others = tuple(name for name in self.widths if name != "action")
        self.width = self.pixels + sum(self.widths[name] for name in self.others)
        self.size = self.patches * self.width
        self.keys: tuple[str, ...] = ("pixels", *self.others)

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Patch tokens with the embeddings of everything but the action."""
        given = {key: observations[key] for key in self.keys}
        return self.model.encode(given, emb_keys=list(self.others))["emb"].flatten(2)

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """The last predicted frame, the action's place taken out again."""
        tokens = frames.unflatten(-1, (self.patches, self.width))
        done = self.model.extra_encoders["action"](actions)[:, :, None].expand(-1, -1, self.patches, -1)
        place = self._place()
        filled = torch.cat([tokens[..., :place], done, tokens[..., place:]], dim=-1)
        after = self.model.predict(filled)[:, -1]
        return torch.cat([after[..., :place], after[..., place + self.widths["action"] :]], dim=-1).flatten(1)

    def _place(self) -> int:
        """Where the action's embedding begins: extras follow the pixels in the order of their encoders."""
        names = list(self.widths)
        return self.pixels + sum(self.widths[name] for name in names[: names.index("action")])

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """The pixels, and each extra embedding on the first patch (all patches carry the same of a goal)."""
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
    """TD-MPC2: a Markov latent. Its reward and value heads are not used; plans are judged by the distance to a goal.

    Args:
        model: has ``encode``, ``dynamics``, ``latent_dim``, ``use_pixels`` and ``extra_encoders``.
    """

    context = 1

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.size = int(_needed(model, "latent_dim"))
        extras = tuple(_needed(model, "extra_encoders").keys())
        self.keys: tuple[str, ...] = (("pixels",) if _needed(model, "use_pixels") else ()) + extras

    def encode(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """The latents."""
        return self.model.encode({key: observations[key] for key in self.keys})

    def after(self, frames: Float[Tensor, "n k s"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n s"]:
        """One step of the dynamics."""
        return self.model.dynamics(torch.cat([frames[:, -1], actions[:, -1]], dim=-1))

    def parts(self) -> dict[str, Float[Tensor, " s"]]:
        """The whole latent."""
        return {"emb": torch.ones(self.size)}


CORES: dict[str, type[EmbeddingCore] | type[PreJEPACore] | type[TDMPC2Core]] = {
    "LeWM": EmbeddingCore,
    "PLDM": EmbeddingCore,
    "PreJEPA": PreJEPACore,
    "TDMPC2": TDMPC2Core,
}


def goal_weights(core: Core, alpha: float) -> Float[Tensor, " s"]:
    """Weights of a mean squared distance of the pixels + alpha * that of each other part; the pixels' weigh 1."""
    parts = core.parts()
    first, *others = parts.values()
    return first + sum((alpha * math.fsum(first.tolist()) / float(mask.sum()) * mask for mask in others), 0.0)


def _needed(model: nn.Module, name: str) -> Any:
    """An attribute by dotted name.

    Raises:
        GraspPlannerError: there is none.
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
