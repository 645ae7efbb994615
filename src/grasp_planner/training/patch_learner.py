"""The loss of a ``PatchWorldModel``: one-step predictions from observations, and open-loop unrolls."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.data import Episodes, Windows
from grasp_planner.models.patches.patch_model_config import PatchModelConfig
from grasp_planner.models.patches.patch_world_model import PatchWorldModel
from grasp_planner.models.patches.pretrained import pretrained_encoder
from grasp_planner.training.feature_cache import visual_latents
from grasp_planner.training.fitting import action_units, check_finite, size_flags
from grasp_planner.training.latent_losses import MEASURES
from grasp_planner.training.learner import Batch, Cut
from grasp_planner.training.losses import path_loss
from grasp_planner.training.state_learner import push_t_errors

FITTED_WINDOWS = 50_000
FITTED_PICTURES = 4_096
ENCODED_AT_ONCE = 32


class PatchLearner(nn.Module):
    """A ``PatchWorldModel`` and its loss.

    The encoder is pretrained and frozen, so that every picture is encoded once, before the training. Two predictions
    are compared with the encoded observations of a window: one step from every observation (teacher forcing), and the
    rest of the window open-loop from the first k observations, with k drawn between 1 and the context. The distance of
    latents is the distance of features, see ``PatchWorldModel.goal_weights``, with the square roots of its weights.

    Args:
        config: configuration of the model.
        measures: errors to report, ``"position"`` or ``"push_t"``.
        tolerance: see ``losses.pseudo_huber``.
    """

    def __init__(self, config: PatchModelConfig, measures: str, tolerance: float) -> None:
        super().__init__()
        if measures not in MEASURES:
            raise unknown_name("measures", measures, MEASURES)
        self.model = PatchWorldModel(config)
        self.measures, self.tolerance = measures, tolerance
        self.vectors: tuple[str, ...] = ("state", "proprio") if config.proprio_size else ("state",)
        self.observations: tuple[str, ...] = ("pixels", *self.vectors)

    def cut(self, unroll: int) -> Cut:
        """Describe windows with an observation at every model step."""
        config = self.model.config
        return Cut(config.context, unroll // config.frameskip, config.frameskip, ("visual", *self.vectors))

    def encoded(
        self, parts: Sequence[Episodes], *, device: torch.device, seed: int, fitted: bool, progress: bool
    ) -> list[Episodes]:
        """Load the encoder, compute its principal components, and add ``"visual"`` to the data sets.

        Raises:
            GraspPlannerError: the encoder's weights are missing, or the sizes of the data differ from the model's.
        """
        for part in parts:
            self._check(part)
        model = self.model
        model.to(device)
        if not fitted:
            model.encoder.load_state_dict(pretrained_encoder(model.config).state_dict())
            self._fit_components(parts, seed)
        known = [
            dataclasses.replace(
                part,
                observations={
                    **{key: part.array(key) for key in self.vectors},
                    "visual": visual_latents(model, part, progress=progress),
                },
            )
            for part in parts
        ]
        model.to("cpu")
        return known

    @torch.no_grad()
    def _fit_components(self, parts: Sequence[Episodes], seed: int) -> None:
        sizes = np.array([len(part.array("pixels")) for part in parts])
        count = min(FITTED_PICTURES, int(sizes.sum()))
        rows = np.sort(np.random.default_rng(seed).choice(int(sizes.sum()), count, replace=False))
        features = []
        for part, end in zip(parts, np.cumsum(sizes)):
            own = rows[(rows >= end - len(part.array("pixels"))) & (rows < end)] - (end - len(part.array("pixels")))
            for first in range(0, len(own), ENCODED_AT_ONCE):
                chosen = torch.from_numpy(part.array("pixels")[own[first : first + ENCODED_AT_ONCE]])[:, None]
                features.append(self.model.encoder(self.model.pictures(chosen, self.model.low)).cpu())
        self.model.components.to("cpu").fit(torch.cat(features))
        self.model.components.to(self.model.low.device)

    def prepare(self, episodes: Episodes, seed: int) -> None:
        """Set statistics of actions, proprioception and states, and the linear model of proprioception.

        Raises:
            GraspPlannerError: the data are not finite.
        """
        model, config = self.model, self.model.config
        check_finite(episodes, (*self.vectors, "actions"))
        windows = Windows(episodes, history=1, future=1, frameskip=config.frameskip, keys=self.vectors)
        count = min(FITTED_WINDOWS, len(windows))
        drawn = windows[np.random.default_rng(seed).choice(len(windows), count, replace=False)]
        actions = torch.as_tensor(drawn["actions"][:, 0], dtype=torch.float64).unflatten(-1, (config.frameskip, -1))
        mean, std, low, high = action_units(actions.flatten(0, 1))
        model.action_mean.copy_(mean)
        model.action_std.copy_(std)
        model.low.copy_(low.repeat(config.frameskip))
        model.high.copy_(high.repeat(config.frameskip))
        model.probe.fit(torch.as_tensor(drawn["state"], dtype=torch.float64)[:, 0])
        if not config.proprio_size:
            return
        proprio = torch.as_tensor(drawn["proprio"], dtype=torch.float64)
        model.proprio_mean.copy_(proprio[:, 0].mean(0))
        model.proprio_std.copy_(proprio[:, 0].std(0).clamp(min=1e-6))
        before, after = ((proprio - model.proprio_mean) / model.proprio_std).unbind(1)
        model.predictor.drift.fit(before, ((actions - mean) / std).flatten(1), after)

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the loss of windows: observations (n, h + t, ...) and actions (n, h + t - 1, a)."""
        model, h = self.model, self.model.context
        latents, actions = self._latents(model, batch), self._actions(model, batch)
        frames = latents[:, :-1].unfold(1, h, 1).movedim(-1, 2)  # (n, t, h, s)
        blocks = actions.unfold(1, h, 1).movedim(-1, 2)
        after = latents[:, 1:].unfold(1, h, 1).movedim(-1, 2)
        predicted = model.predictor(frames.flatten(0, 1), blocks.flatten(0, 1))
        loss = self._distance(predicted, after.flatten(0, 1))
        if latents.shape[1] > h + 1:
            known = int(torch.randint(h, (1,), generator=generator)) + 1
            loss = loss + self._distance(unrolled(model, latents[:, :known], actions), latents[:, known:])
        probe = model.probe
        return loss + functional.smooth_l1_loss(probe.read(latents), probe.features(batch["state"]), beta=0.1)

    @torch.no_grad()
    def errors(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the errors of the probe's states, decoded from open-loop predictions and from pictures (``read_``)."""
        assert isinstance(model, PatchWorldModel)
        h = model.context
        latents = self._latents(model, batch)
        predicted = unrolled(model, latents[:, :h], self._actions(model, batch))
        target = batch["state"][:, h:]
        measured = self._measured(model.decode_state(predicted), target)
        read = self._measured(model.decode_state(latents[:, h:]), target)
        return measured | {f"read_{name}": error for name, error in read.items()}

    @torch.no_grad()
    def latents(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the components of all patches of the first observations, and their scale."""
        assert isinstance(model, PatchWorldModel)
        components = batch["visual"][:, 0].unflatten(-1, (-1, model.config.components)).flatten(0, 1)
        return components, torch.ones_like(components[0])

    def freeze(self, model: nn.Module, episodes: Episodes) -> Episodes:
        """Raise an error, since a pretrained encoder is frozen from the start.

        Raises:
            GraspPlannerError: always; no valid recipe calls this method.
        """
        raise GraspPlannerError("a pretrained encoder is frozen from the start")

    def _check(self, episodes: Episodes) -> None:
        config = self.model.config
        sizes = {"state": (config.state_size,), "pixels": (config.pixels, config.pixels, 3)}
        if config.proprio_size:
            sizes["proprio"] = (config.proprio_size,)
        got = {key: episodes.array(key).shape[1:] for key in sizes}
        if got != sizes or episodes.action_dim != config.action_size:
            flags = {f"{key}_size": shape[0] for key, shape in got.items() if key != "pixels"}
            raise GraspPlannerError(
                f"the model needs observations of the shapes {sizes} and actions of size {config.action_size}, the "
                f"data have {got} and {episodes.action_dim}: choose the recipe of that environment, or "
                f"{size_flags(flags | {'action_size': episodes.action_dim, 'pixels': got['pixels'][0]})}"
            )

    def _latents(self, model: PatchWorldModel, batch: Batch) -> Tensor:
        return model.with_proprio(batch["visual"], batch["proprio"]) if model.config.proprio_size else batch["visual"]

    def _actions(self, model: PatchWorldModel, batch: Batch) -> Tensor:
        return model.model_actions(batch["actions"].unflatten(-1, (model.frameskip, -1)))

    def _distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        config = self.model.config
        visual = self.model.components.variances.repeat(config.patches).pow(-0.25)
        scale = torch.cat([visual, visual.new_ones(config.proprio_size)])
        return path_loss(predicted, target, scale, self.tolerance)

    def _measured(self, states: Tensor, target: Tensor) -> dict[str, Tensor]:
        if self.measures == "push_t":
            return push_t_errors(states, target)
        return {"position": (states[..., :2] - target[..., :2]).norm(dim=-1)}


def unrolled(model: PatchWorldModel, latents: Tensor, actions: Tensor) -> Tensor:
    """Predict open-loop from the first k latents (n, k, s) under all actions (n, m, a): (n, m + 1 - k, s)."""
    h, known = model.context, latents.shape[1]
    frames = list(latents.unbind(1))
    for now in range(known - 1, actions.shape[1]):
        first = max(0, now + 1 - h)
        window = torch.stack(frames[first : now + 1], dim=1)
        frames.append(model.predictor(window, actions[:, first : now + 1])[:, -1])
    return torch.stack(frames[known:], dim=1)
