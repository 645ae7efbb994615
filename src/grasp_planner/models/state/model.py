"""``StateModel``: a trainable world model for environments whose state is a short vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.checkpoint import load_model, save_model
from grasp_planner.models.hub import found_folder
from grasp_planner.models.hub_upload import push_model
from grasp_planner.models.integer_fields import check_integers
from grasp_planner.models.normalisation import from_environment, to_environment
from grasp_planner.models.state.plain import PlainDynamics
from grasp_planner.models.state.push_t import PushTDynamics

FEATURES: dict[str, type[PlainDynamics] | type[PushTDynamics]] = {
    "plain": PlainDynamics,
    "push_t": PushTDynamics,
}


@dataclass(frozen=True)
class StateModelConfig:
    """The configuration of a ``StateModel``.

    Args:
        state_size: numbers in the environment's state.
        action_size: numbers in one environment action.
        features: the class of dynamics, a key of ``FEATURES``: ``"plain"`` (any state vector) or ``"push_t"``.
        frameskip: environment steps in one model step.
        substeps: network evaluations in one model step; ``frameskip`` (one for each environment action) or 1.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: number of wavelengths (8, 4, 2, .. latent units) of the sines and cosines of positions that are further
            inputs of the network.
        goal_weights: weight of each latent coordinate in the distance from a goal; ``None``: the weights of the
            features.

    Raises:
        GraspPlannerError: a number is not a positive integer, ``features`` is unknown, or ``substeps`` does not fit.

    Example:
        >>> StateModelConfig(state_size=3, action_size=1, frameskip=2, substeps=2).width
        128
    """

    state_size: int
    action_size: int
    features: str = "plain"
    frameskip: int = 5
    substeps: int = 5
    width: int = 128
    depth: int = 3
    octaves: int = 4
    goal_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise unknown_name("features", self.features, FEATURES)
        positive = ("state_size", "action_size", "frameskip", "substeps", "width", "depth")
        check_integers(self, dict.fromkeys(positive, 1) | {"octaves": 0})
        if self.substeps not in (1, self.frameskip):
            raise GraspPlannerError(
                f"StateModelConfig.substeps must be 1 or frameskip ({self.frameskip}), got {self.substeps}"
            )


class StateModel(nn.Module):
    """A world model of context 1 over a state vector, which includes the normalisation.

        z = encode(state),    z' = f( .. f(f(z, u_1), u_2) .. , u_k),    a = (u_1, .., u_k),  u = (action - mean) / std

    One model step takes a block of ``frameskip`` environment actions. With ``substeps = frameskip`` the network f makes
    one step per environment action; with ``substeps = 1`` it makes one step for the whole block. The class of the
    features (``PushTDynamics``, ``PlainDynamics``) defines the latent, which is the state in units in which squared
    distances are meaningful.

    Args:
        config: sizes and features.

    Attributes:
        context: 1.
        frameskip: environment steps in a model step.
        low, high: (a,) range of the actions in the training data, in units of their standard deviation.
        scale: (s,) typical size of each latent coordinate.
        goal_weights: (s,) for ``GoalDistance(weights=...)``; the weight of velocities is 0, for example.

    Example:
        >>> import torch
        >>> model = StateModel(StateModelConfig(state_size=2, action_size=2, frameskip=5))
        >>> latent = model.encode({"state": torch.zeros(3, 1, 2)})
        >>> model(latent, torch.zeros(3, 1, 10)).shape
        torch.Size([3, 2])
    """

    low: Tensor
    high: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(self, config: StateModelConfig) -> None:
        super().__init__()
        self.config = config
        self.context = 1
        self.frameskip = config.frameskip
        inputs = config.action_size * config.frameskip // config.substeps
        self.dynamics = FEATURES[config.features](config.state_size, inputs, config.width, config.depth, config.octaves)
        size = config.action_size
        self.register_buffer("action_mean", torch.zeros(size))
        self.register_buffer("action_std", torch.ones(size))
        self.register_buffer("low", torch.full((size * config.frameskip,), -3.0))
        self.register_buffer("high", torch.full((size * config.frameskip,), 3.0))
        weights = config.goal_weights
        if weights is not None and len(weights) != self.dynamics.latent_size:
            raise GraspPlannerError(
                f"StateModelConfig.goal_weights must have one number for each of the {self.dynamics.latent_size} "
                f"latent coordinates, got {len(weights)}"
            )

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) typical size of each latent coordinate."""
        return self.low.new_tensor(self.dynamics.scale)

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weight of each latent coordinate in the distance from a goal."""
        given = self.config.goal_weights
        return self.low.new_tensor(self.dynamics.goal_weights if given is None else given)

    def forward(self, states: Float[Tensor, "n 1 s"], actions: Float[Tensor, "n 1 a"]) -> Float[Tensor, "n s"]:
        """Return the latents after one model step."""
        return self.path(states[:, -1], actions[:, -1])[:, -1]

    def path(self, state: Float[Tensor, "n s"], actions: Float[Tensor, "n a"]) -> Float[Tensor, "n substeps s"]:
        """Return the latents after each evaluation of the network within a model step, including the last.

        ``actions`` may hold several blocks, one after another; the path then covers all of them.
        """
        inputs = self.config.action_size * self.frameskip // self.config.substeps
        return self.dynamics.path(state, actions.unflatten(-1, (-1, inputs)))

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode ``observations["state"]`` (b, h, state), in the environment's units. Other keys are ignored.

        Raises:
            GraspPlannerError: there is no ``"state"``, or its shape is not (b, h, state_size).
        """
        if "state" not in observations:
            raise GraspPlannerError(f"encode needs observations['state'], got the keys {sorted(observations)}")
        state = torch.as_tensor(observations["state"]).to(self.low)
        if state.ndim != 3 or state.shape[-1] != self.config.state_size:
            raise GraspPlannerError(
                f"observations['state'] must be (b, h, {self.config.state_size}), got {tuple(state.shape)}"
            )
        return self.dynamics.encode(state)

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Return the environment's state vectors, in the environment's units: the inverse of ``encode``."""
        return self.dynamics.decode(latents)

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Return the environment actions in each block, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
        return from_environment(actions, self.action_mean, self.action_std)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``, each atomically, and return the folder."""
        return save_model(self, self.config, "state", folder)

    def push_to_hub(self, repository: str, *, license: str | None = None, private: bool = False) -> str:
        """Upload the model with a new card to the Hugging Face Hub, and return the address of the commit.

        The function ``grasp_planner.models.push_to_hub`` uploads a folder, with its own card and training settings.

        Raises:
            GraspPlannerError: see the function.
        """
        return push_model(self, repository, license, private)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | torch.device = "cpu") -> StateModel:
        """Load the model from a folder or from ``"owner/name"`` on the Hub, frozen and in evaluation mode.

        Raises:
            GraspPlannerError: files are missing, truncated or do not fit together; the Hub cannot be reached.
        """
        return load_model(cls, StateModelConfig, found_folder(name_or_folder), device)
