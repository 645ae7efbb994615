"""The loss of a ``LatentModel``, which trains predictions of latents and keeps the latents from collapsing."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes, Windows
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.models.mlp import MLP
from grasp_planner.training.fitting import action_units, check_finite, size_flags
from grasp_planner.training.latent_losses import LatentLoss, bend, decorrelation, sigreg, unexplained, variance_hinge
from grasp_planner.training.learner import Batch, Cut
from grasp_planner.training.losses import path_loss
from grasp_planner.training.state_learner import push_t_errors

FITTED_WINDOWS = 50_000
DRAWN = 32  # number of pictures of a batch that train the decoder
ENCODED_AT_ONCE = 512
APART = 0.3  # weight of probe and decoder losses; their gradients are clipped together with all others


class LatentLearner(nn.Module):
    """A ``LatentModel`` and its loss.

    Two predictions are compared with the encoded observations of a window: one step from every observation, and the
    whole window open-loop from the first observation. Gradients flow through predictions and targets; the terms of
    ``LatentLoss`` keep the latents from collapsing. The probe, and the decoder if ``reconstruction`` is 0, are trained
    on the latents without a gradient to the encoder: states are not labels of the model.

    Args:
        config: configuration of the model.
        loss: weights of the losses.
        tolerance: see ``losses.pseudo_huber``.
    """

    def __init__(self, config: LatentModelConfig, loss: LatentLoss, tolerance: float) -> None:
        super().__init__()
        self.model = LatentModel(config)
        self.loss, self.tolerance = loss, tolerance
        self.inverse = MLP(2 * config.latent, config.action_size, 128, 2)

    def cut(self, unroll: int) -> Cut:
        """Describe windows with an observation at every model step."""
        config = self.model.config
        keys = ("pixels", "state", "proprio") if config.proprio_size else ("pixels", "state")
        return Cut(config.context, unroll // config.frameskip, config.frameskip, keys)

    def prepare(self, episodes: Episodes, seed: int) -> None:
        """Set statistics of actions, proprioception and states, and the linear model of proprioception.

        Raises:
            GraspPlannerError: the data are not finite, or their sizes differ from the model's.
        """
        model, config = self.model, self.model.config
        self._check(episodes)
        vectors = ("state", "proprio") if config.proprio_size else ("state",)
        check_finite(episodes, (*vectors, "actions"))
        windows = Windows(episodes, history=1, future=1, frameskip=config.frameskip, keys=vectors)
        count = min(FITTED_WINDOWS, len(windows))
        drawn = windows[np.random.default_rng(seed).choice(len(windows), count, replace=False)]
        actions = torch.as_tensor(drawn["actions"][:, 0], dtype=torch.float64).unflatten(-1, (config.frameskip, -1))
        mean, std, low, high = action_units(actions.flatten(0, 1))
        model.action_mean.copy_(mean)
        model.action_std.copy_(std)
        model.low.copy_(low.repeat(config.frameskip))
        model.high.copy_(high.repeat(config.frameskip))
        windows = Windows(episodes, history=1, future=1, frameskip=config.frameskip, keys=("pixels",))
        chosen = windows[np.random.default_rng(seed).choice(len(windows), min(ENCODED_AT_ONCE, len(windows)))]
        ground = torch.from_numpy(np.median(chosen["pixels"][:, 0], axis=0) / 255.0 - 0.5)
        model.ground.copy_(ground.movedim(-1, 0))
        states = torch.as_tensor(drawn["state"], dtype=torch.float64)
        model.probe.fit(states[:, 0])
        if not config.proprio_size:
            return
        proprio = torch.as_tensor(drawn["proprio"], dtype=torch.float64)
        model.proprio_mean.copy_(proprio[:, 0].mean(0))
        model.proprio_std.copy_(proprio[:, 0].std(0).clamp(min=1e-6))
        if config.view is not None:  # positions and velocities in units of half the picture's width
            low_edge, high_edge = config.view
            model.proprio_mean.zero_()
            model.proprio_mean[:2] = (low_edge + high_edge) / 2
            model.proprio_std.fill_((high_edge - low_edge) / 2)
        before, after = ((proprio - model.proprio_mean) / model.proprio_std).unbind(1)
        blocks = ((actions - mean) / std).flatten(1)
        model.predictor.drift.fit(before, blocks, after)

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the loss of windows: observations or ``"latent"`` (n, h + t, ...), and actions (n, h + t - 1, a)."""
        model, weights = self.model, self.loss
        frozen = "latent" in batch
        latents = batch["latent"] if frozen else model.encode(batch)
        predicted = rollout(model, latents, self._actions(batch["actions"]))
        loss = path_loss(predicted, latents[:, model.context :], model.scale, self.tolerance)
        loss = loss + self._one_step(latents, self._actions(batch["actions"]))
        loss = loss + APART * self._probe_loss(latents.detach(), batch["state"])
        loss = loss + self._drawing_loss(latents, batch["pixels"], generator)
        if frozen:
            return loss
        size = model.config.latent
        visual, proprio = (latents / model.scale).split((size, latents.shape[-1] - size), dim=-1)
        loss = loss + self._apart(visual.flatten(0, 1), proprio.flatten(0, 1))
        if weights.sigreg:
            apart = torch.stack([sigreg(frame, generator) for frame in visual.unbind(1)])
            loss = loss + weights.sigreg * apart.mean()
        if weights.inverse:
            loss = loss + weights.inverse * self._inverse_loss(visual, batch["actions"])
        if weights.straightening:
            loss = loss + weights.straightening * bend(visual)
        return loss

    @torch.no_grad()
    def errors(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the errors of the probe's states, decoded from open-loop predictions and from pictures (``read_``)."""
        assert isinstance(model, LatentModel)
        latents = model.encode(batch)
        predicted = rollout(model, latents, self._actions(batch["actions"], model))
        target = batch["state"][:, model.context :]
        measured = self._measured(model.decode_state(predicted), target)
        read = self._measured(model.decode_state(latents[:, model.context :]), target)
        return measured | {f"read_{name}": error for name, error in read.items()}

    @torch.no_grad()
    def latents(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the visual latents of the first observations and their scale. Proprioception cannot collapse."""
        assert isinstance(model, LatentModel)
        size = model.config.latent
        first = {key: value[:, :1] for key, value in batch.items() if key != "actions"}
        return model.encode(first)[:, 0, :size], model.scale[:size]

    @torch.no_grad()
    def freeze(self, model: nn.Module, episodes: Episodes) -> Episodes:
        """Copy the encoder of ``model``, and add ``"latent"``, its encoding of the pictures, to the observations."""
        assert isinstance(model, LatentModel)
        self.model.encoder.load_state_dict(model.encoder.state_dict())
        keys = ("pixels", "proprio") if model.config.proprio_size else ("pixels",)
        counts = episodes.lengths + 1
        rows = np.repeat(episodes.observation_starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        latents = np.zeros((len(episodes.array("pixels")), model.config.size), dtype=np.float32)
        for chosen in np.array_split(rows, -(-len(rows) // ENCODED_AT_ONCE)):
            seen = {key: torch.from_numpy(episodes.array(key)[chosen])[:, None] for key in keys}
            encoded = model.encode({key: one.to(model.low.device) for key, one in seen.items()})
            latents[chosen] = encoded[:, 0].cpu().numpy()
        return dataclasses.replace(episodes, observations={**episodes.observations, "latent": latents})

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

    def _apart(self, visual: Tensor, proprio: Tensor) -> Tensor:
        """Return the losses that keep visual coordinates (n, s) from shrinking and from being redundant."""
        weights, others = self.loss, proprio
        spread = visual
        if weights.relative:
            others = visual[:, :2]
            visual = unexplained(visual[:, 2:] - others.repeat(1, visual.shape[1] // 2 - 1), others)
            spread = torch.cat([visual, others], dim=-1)
        hinge = variance_hinge(spread, weights.spread)
        return weights.variance * hinge + weights.decorrelation * decorrelation(visual, others)

    def _actions(self, actions: Tensor, model: LatentModel | None = None) -> Tensor:
        model = self.model if model is None else model
        return model.model_actions(actions.unflatten(-1, (model.frameskip, -1)))

    def _one_step(self, latents: Tensor, actions: Tensor) -> Tensor:
        model, h = self.model, self.model.context
        if latents.shape[1] < h + 2:
            return latents.new_zeros(())  # the rollout is the same single step
        states = latents[:, :-1].unfold(1, h, 1).movedim(-1, 2).flatten(0, 1)
        blocks = actions.unfold(1, h, 1).movedim(-1, 2).flatten(0, 1)
        predicted = model(states, blocks).unflatten(0, (len(latents), -1))
        return path_loss(predicted, latents[:, h:], model.scale, self.tolerance)

    def _probe_loss(self, latents: Tensor, states: Tensor) -> Tensor:
        probe = self.model.probe
        return functional.smooth_l1_loss(probe.read(latents), probe.features(states), beta=0.1)

    def _inverse_loss(self, visual: Tensor, actions: Tensor) -> Tensor:
        pairs = torch.cat([visual[:, :-1], visual[:, 1:]], dim=-1)
        blocks = self._actions(actions).unflatten(-1, (self.model.frameskip, -1))
        return functional.mse_loss(self.inverse(pairs), blocks.mean(-2))

    def _drawing_loss(self, latents: Tensor, pixels: Tensor, generator: torch.Generator) -> Tensor:
        rows = torch.randint(latents.shape[0] * latents.shape[1], (DRAWN,), generator=generator).to(latents.device)
        chosen = latents.flatten(0, 1)[rows]
        wanted = pixels.flatten(0, 1)[rows].movedim(-1, 1).to(latents) / 255.0
        weight = self.loss.reconstruction
        drawn = self.model.decoder(chosen if weight else chosen.detach())
        return (weight or APART) * 10 * functional.mse_loss(drawn, wanted)

    def _measured(self, states: Tensor, target: Tensor) -> dict[str, Tensor]:
        if self.loss.measures == "push_t":
            return push_t_errors(states, target)
        return {"position": (states[..., :2] - target[..., :2]).norm(dim=-1)}


def rollout(model: LatentModel, latents: Tensor, actions: Tensor) -> Tensor:
    """Predict open-loop from the first h latents under actions (n, h + t - 1, a), and return (n, t, s)."""
    h = model.context
    states, predicted = latents[:, :h], []
    for i in range(actions.shape[1] - h + 1):
        predicted.append(model(states, actions[:, i : i + h]))
        states = torch.cat([states[:, 1:], predicted[-1][:, None]], dim=1)
    return torch.stack(predicted, dim=1)
