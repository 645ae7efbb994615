"""The loss of a ``StateModel``, which compares open-loop predictions over many steps with the observed states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.data import Episodes, Windows
from grasp_planner.models.state.model import StateModel, StateModelConfig
from grasp_planner.models.state.push_t import PushTDynamics
from grasp_planner.training.fitting import action_units, check_finite, size_flags
from grasp_planner.training.learner import Batch, Cut
from grasp_planner.training.losses import imbalance, path_loss
from grasp_planner.training.symmetry import SYMMETRIES

FITTED_WINDOWS = 100_000


class StateLearner(nn.Module):
    """A ``StateModel`` and its loss.

    The loss is the distance between the predicted and the observed path after every network evaluation of an unroll,
    see ``losses.path_loss``. Gradients flow through the whole unroll. The loss of a diffusion model is the denoising
    error of every step of the unroll, each of which starts from an observed state.

    Args:
        config: configuration of the model.
        symmetry: name in ``symmetry.SYMMETRIES``, or ``None``.
        tolerance: see ``losses.pseudo_huber``.
        balance: weight of the load balancing term of a mixture of experts, see ``losses.imbalance``; 0: no such term.
    """

    def __init__(self, config: StateModelConfig, symmetry: str | None, tolerance: float, balance: float = 0.0) -> None:
        super().__init__()
        if symmetry is not None and symmetry not in SYMMETRIES:
            raise unknown_name("symmetry", symmetry, SYMMETRIES)
        self.model = StateModel(config)
        self.symmetry = None if symmetry is None else SYMMETRIES[symmetry]
        self.tolerance, self.balance = tolerance, balance
        self.observations: tuple[str, ...] = ("state",)
        self.stride = config.frameskip // config.substeps  # environment steps in one step of the network

    def cut(self, unroll: int, frozen: bool = False) -> Cut:
        """Describe windows that hold every environment step, independent of the model's frameskip."""
        return Cut(history=1, future=unroll, frameskip=1, keys=("state",))

    def encoded(
        self, parts: Sequence[Episodes], *, device: torch.device, seed: int, fitted: bool, progress: bool
    ) -> list[Episodes]:
        """Return the data sets unchanged, since a state-based model has no encoder."""
        return list(parts)

    def prepare(self, episodes: Episodes, seed: int) -> None:
        """Set action statistics, action bounds and the closed-form parts of the dynamics from the training data.

        With a symmetry, the mirror images of the actions are included: the mean is 0, all coordinates share one
        standard deviation, and the lower bound is minus the upper bound.

        Raises:
            GraspPlannerError: states or actions of the data are not finite, or of other sizes than the model's.
        """
        model, config = self.model, self.model.config
        state_size = episodes.array("state").shape[-1]
        if (state_size, episodes.action_dim) != (config.state_size, config.action_size):
            raise GraspPlannerError(
                f"the model needs states of size {config.state_size} and actions of size {config.action_size}, "
                f"the data have {state_size} and {episodes.action_dim}: choose the recipe of that environment, or "
                f"{size_flags({'state_size': state_size, 'action_size': episodes.action_dim})}"
            )
        check_finite(episodes, ("state", "actions"))
        windows = Windows(episodes, history=1, future=self.stride, frameskip=1, keys=("state",))
        count = min(FITTED_WINDOWS, len(windows))
        drawn = windows[np.random.default_rng(seed).choice(len(windows), count, replace=False)]
        actions = torch.as_tensor(drawn["actions"], dtype=torch.float64)
        mean, std, low, high = action_units(actions.flatten(0, 1), symmetric=self.symmetry is not None)
        model.action_mean.copy_(mean)
        model.action_std.copy_(std)
        model.low.copy_(low.repeat(config.frameskip))
        model.high.copy_(high.repeat(config.frameskip))
        normalised = ((actions - model.action_mean) / model.action_std).flatten(1)
        ends = torch.as_tensor(drawn["state"][:, [0, -1]], dtype=torch.float64)
        model.dynamics.fit(ends, normalised)

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the loss of windows ``"state"`` (n, t + 1, s) and ``"actions"`` (n, t, e), in environment steps."""
        states, actions = batch["state"], batch["actions"]
        if self.symmetry is not None:
            states, actions = self.symmetry(states, actions, generator)
        latents = self.model.encode({"state": states})
        blocks = self.model.model_actions(actions)
        dynamics, denoiser = self.model.dynamics, self.model.denoiser
        if denoiser is not None and not isinstance(dynamics, PushTDynamics):
            ends = latents[:, :: self.stride]
            each = blocks.unflatten(-1, (ends.shape[1] - 1, -1)).flatten(0, 1)
            inputs, outputs = dynamics.example(ends[:, :-1].flatten(0, 1), each, ends[:, 1:].flatten(0, 1))
            return denoiser.loss(inputs, outputs, generator)
        predicted, gates = self.model.path_and_gates(latents[:, 0], blocks)
        loss = path_loss(predicted, latents[:, self.stride :: self.stride], self.model.scale, self.tolerance)
        return loss + self.balance * imbalance(gates) if self.balance else loss

    @torch.no_grad()
    def errors(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return open-loop errors after each model step, in the environment's units."""
        assert isinstance(model, StateModel)
        states, skip = batch["state"], model.frameskip
        latents = model.encode({"state": states[:, :1]})[:, 0]
        predicted = model.path(latents, model.model_actions(batch["actions"]))
        predicted = model.decode_state(predicted[:, model.config.substeps - 1 :: model.config.substeps])
        target = states[:, skip::skip]
        if model.config.features.startswith("push_t"):
            return push_t_errors(predicted, target)
        return {f"state_{i}": (predicted - target)[..., i].abs() for i in range(target.shape[-1])}

    @torch.no_grad()
    def latents(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return latents of the first observations, and their scale."""
        assert isinstance(model, StateModel)
        return model.encode({"state": batch["state"][:, :1]})[:, 0], model.scale

    def settle(self, model: nn.Module, episodes: Episodes) -> None:
        """Do nothing: no statistics of these models depend on their weights."""

    def freeze(self, model: nn.Module, episodes: Episodes) -> NoReturn:
        """Raise an error, since a state-based model has no encoder to freeze.

        Raises:
            GraspPlannerError: always; no valid recipe calls this method.
        """
        raise GraspPlannerError("a state-based model has no encoder to freeze")


def push_t_errors(predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return errors of Push-T states (..., 7): pusher and block in px, the block's angle in degrees.

    >>> import torch
    >>> one = torch.tensor([0.0, 0, 3, 4, 6.2, 0, 0])
    >>> {name: round(float(value), 2) for name, value in push_t_errors(one, torch.zeros(7)).items()}
    {'pusher_px': 0.0, 'block_px': 5.0, 'angle_deg': 4.77}
    """
    turn = (predicted[..., 4] - target[..., 4] + math.pi) % (2 * math.pi) - math.pi
    return {
        "pusher_px": (predicted[..., :2] - target[..., :2]).norm(dim=-1),
        "block_px": (predicted[..., 2:4] - target[..., 2:4]).norm(dim=-1),
        "angle_deg": turn.abs().rad2deg(),
    }
