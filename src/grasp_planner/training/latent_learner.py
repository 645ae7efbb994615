"""The loss of a ``LatentModel``, which trains predictions of latents and keeps the latents from collapsing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes, Windows
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.mlp import MLP
from grasp_planner.training.feature_cache import with_features
from grasp_planner.training.fitting import action_units, check_finite, size_flags
from grasp_planner.training.latent_losses import LatentLoss, bend, decorrelation, sigreg, unexplained, variance_hinge
from grasp_planner.training.learner import Batch, Cut
from grasp_planner.training.losses import path_loss
from grasp_planner.training.state_learner import push_t_errors

FITTED_WINDOWS = 50_000
DRAWN = 32  # number of pictures of a batch that train the decoder
ENCODED_AT_ONCE = 512
SETTLED = 4 * ENCODED_AT_ONCE  # pictures for statistics of normalisation, about
APART = 0.3  # weight of probe and decoder losses; their gradients are clipped together with all others


class LatentLearner(nn.Module):
    """A ``LatentModel`` and its loss.

    Two predictions are compared with the encoded observations of a window: one step from every observation (teacher
    forcing), and the rest of the window open-loop from the first k observations. k is the context, or it is drawn
    between 1 and the context for predictors that also read shorter windows. The distance of latents is measured in
    units of ``scale``, and squared differences of visual coordinates are weighted by the square roots of their goal
    weights.

    For a trained encoder, gradients flow through predictions and targets; the terms of ``LatentLoss`` keep the latents
    from collapsing. A pretrained encoder is frozen: every picture is encoded once, before the training. The probe, and
    the decoder if ``reconstruction`` is 0, are trained on the latents without a gradient to the encoder: states are not
    labels of the model.

    Args:
        config: configuration of the model.
        loss: weights of the losses.
        tolerance: see ``losses.pseudo_huber``.
    """

    def __init__(self, config: LatentModelConfig | PatchModelConfig, loss: LatentLoss, tolerance: float) -> None:
        super().__init__()
        self.model = LatentModel(config)
        self.loss, self.tolerance = loss, tolerance
        self.inverse = None if config.pretrained else MLP(2 * config.visual, config.action_size, 128, 2)
        self.vectors: tuple[str, ...] = ("state", "proprio") if config.proprio_size else ("state",)
        self.observations: tuple[str, ...] = ("pixels", *self.vectors)

    def cut(self, unroll: int, frozen: bool = False) -> Cut:
        """Describe windows with an observation at every model step; ``"visual"`` is what a frozen encoder made."""
        config = self.model.config
        encoded = ("visual",) if frozen or config.pretrained else ()
        pictures = () if config.pretrained else ("pixels",)  # with a trained encoder, there is a decoder, too
        return Cut(config.context, unroll // config.frameskip, config.frameskip, (*encoded, *pictures, *self.vectors))

    def encoded(
        self, parts: Sequence[Episodes], *, device: torch.device, seed: int, fitted: bool, progress: bool
    ) -> list[Episodes]:
        """Check the data sets; for a pretrained encoder, encode their pictures, which are then left out.

        Raises:
            GraspPlannerError: the sizes of the data differ from the model's, or the encoder's weights are missing.
        """
        for part in parts:
            self._check(part)
        if not self.model.config.pretrained:
            return list(parts)
        self.model.to(device)
        known = with_features(self.model, parts, self.vectors, seed=None if fitted else seed, progress=progress)
        self.model.to("cpu")
        return known

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
        if model.camera is not None:
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
        if model.camera is not None and model.camera.view is not None:  # units of half the picture's width
            low_edge, high_edge = model.camera.view
            model.proprio_mean.zero_()
            model.proprio_mean[:2] = (low_edge + high_edge) / 2
            model.proprio_std.fill_((high_edge - low_edge) / 2)
        before, after = ((proprio - model.proprio_mean) / model.proprio_std).unbind(1)
        blocks = ((actions - mean) / std).flatten(1)
        model.predictor.drift.fit(before, blocks, after)

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the loss of windows: observations or ``"visual"`` (n, h + t, ...), and actions (n, h + t - 1, a)."""
        model, weights = self.model, self.loss
        latents, actions = self._latents(model, batch), self._actions(model, batch)
        loss = self._one_step(latents, actions)
        if latents.shape[1] > model.context + 1:  # otherwise, the window holds a single step after the context
            loss = loss + self._open_loop(latents, actions, generator)
        loss = loss + APART * self._probe_loss(latents.detach(), batch["state"])
        if model.decoder is not None:
            loss = loss + self._drawing_loss(model.decoder, latents, batch["pixels"], generator)
        if "visual" in batch:
            return loss
        size = model.config.visual
        visual, proprio = (latents / model.scale).split((size, latents.shape[-1] - size), dim=-1)
        loss = loss + self._apart(visual.flatten(0, 1), proprio.flatten(0, 1))
        if weights.sigreg:
            apart = torch.stack([sigreg(frame, generator) for frame in visual.unbind(1)])
            loss = loss + weights.sigreg * apart.mean()
        if weights.inverse and self.inverse is not None:
            loss = loss + weights.inverse * self._inverse_loss(self.inverse, visual, actions)
        if weights.straightening:
            loss = loss + weights.straightening * bend(visual)
        return loss

    @torch.no_grad()
    def errors(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the errors of the probe's states, decoded from open-loop predictions and from pictures (``read_``)."""
        assert isinstance(model, LatentModel)
        latents, h = self._latents(model, batch), model.context
        predicted = rollout(model, latents[:, :h], self._actions(model, batch))
        target = batch["state"][:, h:]
        measured = self._measured(model.decode_state(predicted), target)
        read = self._measured(model.decode_state(latents[:, h:]), target)
        return measured | {f"read_{name}": error for name, error in read.items()}

    @torch.no_grad()
    def latents(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the visual latents of the first observations and their scale. Proprioception cannot collapse.

        Each patch of a picture is a latent of its own.
        """
        assert isinstance(model, LatentModel)
        first = {key: value[:, :1] for key, value in batch.items() if key != "actions"}
        tokens = model.config.tokens
        visual = self._visual(model, first)[:, 0].unflatten(-1, (tokens, -1)).flatten(0, 1)
        return visual, model.scale[: visual.shape[-1]]

    def settle(self, model: nn.Module, episodes: Episodes) -> None:
        """Compute the statistics of batch normalisation from training pictures, if the encoder has such layers."""
        assert isinstance(model, LatentModel)
        if model.config.pretrained:
            return
        chosen = episodes.observation_rows[:: max(1, len(episodes.observation_rows) // SETTLED)]
        parts = np.array_split(chosen, -(-len(chosen) // ENCODED_AT_ONCE))
        update_bn((self._inputs(model, episodes, part)[0] for part in parts), model.encoder)

    @torch.no_grad()
    def freeze(self, model: nn.Module, episodes: Episodes) -> Episodes:
        """Copy the encoder of ``model``, and add ``"visual"``, its encoding of the pictures, to the observations."""
        assert isinstance(model, LatentModel)
        self.model.encoder.load_state_dict(model.encoder.state_dict())
        rows = episodes.observation_rows
        visual = np.zeros((len(episodes.array("pixels")), model.config.visual), dtype=np.float32)
        for chosen in np.array_split(rows, -(-len(rows) // ENCODED_AT_ONCE)):
            visual[chosen] = model.encoder(*self._inputs(model, episodes, chosen)).cpu().numpy()
        return dataclasses.replace(episodes, observations={**episodes.observations, "visual": visual})

    def _inputs(self, model: LatentModel, episodes: Episodes, rows: np.ndarray) -> tuple[Tensor, ...]:
        """Return what the encoder reads of some observations."""
        seen = {key: torch.from_numpy(episodes.array(key)[rows])[:, None] for key in model.config.keys}
        return model.inputs({key: one.to(model.low.device) for key, one in seen.items()})

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

    def _visual(self, model: LatentModel, batch: Batch) -> Tensor:
        return batch["visual"] if "visual" in batch else model.visual(batch)

    def _latents(self, model: LatentModel, batch: Batch) -> Tensor:
        return model.with_proprio(self._visual(model, batch), batch)

    def _actions(self, model: LatentModel, batch: Batch) -> Tensor:
        return model.model_actions(batch["actions"].unflatten(-1, (model.frameskip, -1)))

    def _distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        model = self.model
        visual, size = model.config.visual, model.config.size
        scale = model.scale[:size].clone()
        scale[:visual] /= model.goal_weights[:visual].pow(0.25)
        return path_loss(predicted, target, scale, self.tolerance)

    def _one_step(self, latents: Tensor, actions: Tensor) -> Tensor:
        h = self.model.context
        windows = [each.unfold(1, h, 1).movedim(-1, 2).flatten(0, 1) for each in (latents[:, :-1], actions)]
        predicted = self.model.predictor(*windows)
        after = latents[:, 1:].unfold(1, h, 1).movedim(-1, 2).flatten(0, 1)
        return self._distance(predicted, after[:, -predicted.shape[1] :])

    def _open_loop(self, latents: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        known, shortest = self.model.context, self.model.predictor.shortest
        if shortest < known:
            known = int(torch.randint(shortest, known + 1, (1,), generator=generator))
        return self._distance(rollout(self.model, latents[:, :known], actions), latents[:, known:])

    def _probe_loss(self, latents: Tensor, states: Tensor) -> Tensor:
        probe = self.model.probe
        return functional.smooth_l1_loss(probe.read(latents), probe.features(states), beta=0.1)

    def _inverse_loss(self, inverse: MLP, visual: Tensor, actions: Tensor) -> Tensor:
        pairs = torch.cat([visual[:, :-1], visual[:, 1:]], dim=-1)
        blocks = actions.unflatten(-1, (self.model.frameskip, -1))
        return functional.mse_loss(inverse(pairs), blocks.mean(-2))

    def _drawing_loss(self, decoder: nn.Module, latents: Tensor, pixels: Tensor, generator: torch.Generator) -> Tensor:
        rows = torch.randint(latents.shape[0] * latents.shape[1], (DRAWN,), generator=generator).to(latents.device)
        chosen = latents.flatten(0, 1)[rows]
        wanted = pixels.flatten(0, 1)[rows].movedim(-1, 1).to(latents) / 255.0
        weight = self.loss.reconstruction
        drawn = decoder(chosen if weight else chosen.detach())
        return (weight or APART) * 10 * functional.mse_loss(drawn, wanted)

    def _measured(self, states: Tensor, target: Tensor) -> dict[str, Tensor]:
        if self.loss.measures == "push_t":
            return push_t_errors(states, target)
        return {"position": (states[..., :2] - target[..., :2]).norm(dim=-1)}


def rollout(model: LatentModel, latents: Tensor, actions: Tensor) -> Tensor:
    """Predict open-loop from the first k latents (n, k, s) under all actions (n, m, a): (n, m + 1 - k, s)."""
    h, known = model.context, latents.shape[1]
    frames = list(latents.unbind(1))
    for now in range(known - 1, actions.shape[1]):
        first = max(0, now + 1 - h)
        window = torch.stack(frames[first : now + 1], dim=1)
        frames.append(model.predictor(window, actions[:, first : now + 1])[:, -1])
    return torch.stack(frames[known:], dim=1)
