"""``StateModel``: a trainable world model for environments whose state is a short vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.checks import between_zero_and_one
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.core.noise import Noise
from grasp_planner.models.checkpoint import ADDED_LATER, load_model, save_model
from grasp_planner.models.denoiser import Denoiser
from grasp_planner.models.hub import found_folder
from grasp_planner.models.hub_upload import push_model
from grasp_planner.models.integer_fields import check_integers
from grasp_planner.models.mixture import Mixture
from grasp_planner.models.mlp import Network
from grasp_planner.models.normalisation import from_environment, to_environment
from grasp_planner.models.state.plain import PlainDynamics
from grasp_planner.models.state.push_t import PushTDynamics
from grasp_planner.models.state.push_t_diffusion import PushTDiffusion
from grasp_planner.wrappers.smoothable import UNSMOOTHED

StateDynamics = PlainDynamics | PushTDynamics | PushTDiffusion

FEATURES: dict[str, Callable[..., StateDynamics]] = {
    "plain": PlainDynamics,
    "push_t": PushTDynamics,
    "plain_diffusion": partial(PlainDynamics, network=Denoiser),
    "push_t_diffusion": PushTDiffusion,
}
MIXTURES = ("plain", "push_t")
"""The features whose network can be a mixture of experts."""
MOST_EXPERTS = 64
"""Largest number of experts; each prediction evaluates all of them."""


@dataclass(frozen=True)
class StateModelConfig:
    """The configuration of a ``StateModel``.

    Args:
        state_size: numbers in the environment's state.
        action_size: numbers in one environment action.
        features: the class of dynamics, a key of ``FEATURES``: ``"plain"`` (any state vector) or ``"push_t"``, or the
            diffusion models ``"plain_diffusion"`` and ``"push_t_diffusion"``.
        frameskip: environment steps in one model step.
        substeps: network evaluations in one model step; ``frameskip`` (one for each environment action) or 1.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: number of wavelengths (8, 4, 2, .. latent units) of the sines and cosines of positions that are further
            inputs of the network.
        goal_weights: weight of each latent coordinate in the distance from a goal; ``None``: the weights of the
            features.
        experts: number of networks of this width and depth whose predictions a gate weighs; 1: a single network without
            a gate. Every prediction evaluates all experts. docs/mixture_dynamics.md has the details.

    Raises:
        GraspPlannerError: a number is not a positive integer, ``features`` is unknown, or ``substeps`` or
            ``experts`` does not fit.

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
    experts: int = field(default=1, metadata={ADDED_LATER: True})

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise unknown_name("features", self.features, FEATURES)
        positive = ("state_size", "action_size", "frameskip", "substeps", "width", "depth", "experts")
        check_integers(self, dict.fromkeys(positive, 1) | {"octaves": 0})
        if self.substeps not in (1, self.frameskip):
            raise GraspPlannerError(
                f"StateModelConfig.substeps must be 1 or frameskip ({self.frameskip}), got {self.substeps}"
            )
        if self.experts > MOST_EXPERTS:
            raise GraspPlannerError(f"StateModelConfig.experts must be at most {MOST_EXPERTS}, got {self.experts}")
        if self.experts > 1 and self.features not in MIXTURES:
            raise GraspPlannerError(
                f"StateModelConfig.experts must be 1 for the features {self.features!r}, got {self.experts}; "
                f"features with experts are {', '.join(MIXTURES)}"
            )


class StateModel(nn.Module):
    """A world model of context 1 over a state vector, which includes the normalisation.

        z = encode(state),    z' = f( .. f(f(z, u_1), u_2) .. , u_k),    a = (u_1, .., u_k),  u = (action - mean) / std

    One model step takes a block of ``frameskip`` environment actions. With ``substeps = frameskip`` the network f makes
    one step per environment action; with ``substeps = 1`` it makes one step for the whole block. The class of the
    features (``PushTDynamics``, ``PlainDynamics``) defines the latent, which is the state in units in which squared
    distances are meaningful.

    A diffusion model learns the distribution of the next latent. It predicts the sample that belongs to fixed noise,
    which is 0 unless :meth:`seeded` draws other noise. :meth:`smoothed` gives its smoother versions.

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
        make = FEATURES[config.features]
        if config.experts > 1:
            make = partial(make, network=partial(Mixture, experts=config.experts))
        self.dynamics = make(config.state_size, inputs, config.width, config.depth, config.octaves)
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

    def path(
        self, state: Float[Tensor, "n s"], actions: Float[Tensor, "n a"], network: Network | None = None
    ) -> Float[Tensor, "n substeps s"]:
        """Return the latents after each evaluation of the network within a model step, including the last.

        ``actions`` may hold several blocks, one after another; the path then covers all of them. ``network`` takes the
        place of the model's own network.
        """
        inputs = self.config.action_size * self.frameskip // self.config.substeps
        return self.dynamics.path(state, actions.unflatten(-1, (-1, inputs)), network)

    def path_and_gates(
        self, state: Float[Tensor, "n s"], actions: Float[Tensor, "n a"]
    ) -> tuple[Float[Tensor, "n substeps s"], Float[Tensor, "n substeps k"]]:
        """Return the path, and the weights of the k experts in each evaluation of the network, which sum to 1.

        The weights of a model with a single network are 1.
        """
        mixture, gates = self.dynamics.network, []
        if not isinstance(mixture, Mixture):
            path = self.path(state, actions)
            return path, torch.ones_like(path[..., :1])

        def noted(inputs: Tensor) -> Tensor:
            outputs, weights = mixture.weighed(inputs)
            gates.append(weights)
            return outputs

        path = self.path(state, actions, noted)
        return path, torch.stack(gates, dim=1)

    @property
    def denoiser(self) -> Denoiser | None:
        """The network of a diffusion model; ``None`` if the model is deterministic."""
        network = self.dynamics.network
        return network if isinstance(network, Denoiser) else None

    def smoothed(self, amount: float) -> Dynamics:
        """Return a smoother version of a diffusion model, see ``DiffusionVersion``; other models return themselves."""
        return self if self.denoiser is None else DiffusionVersion(self, amount)

    def seeded(self, seed: int) -> DiffusionVersion:
        """Return a version of a diffusion model with noise from a seed: another sample of the learned distribution.

        Raises:
            GraspPlannerError: the model is deterministic.
        """
        if self.denoiser is None:
            raise GraspPlannerError(f"seeded needs a diffusion model, got features {self.config.features!r}")
        return DiffusionVersion(self, noise=Noise.of(seed, 1).normal((self.denoiser.outputs,), torch.float32)[0])

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

        Args:
            repository: ``"owner/name"``.
            license: licence of the weights as the Hub spells it, such as ``"mit"``; ``None``: not stated.
            private: whether a new repository is private.

        Raises:
            GraspPlannerError: see the function.
        """
        return push_model(self, repository, license, private)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str | torch.device = "cpu") -> StateModel:
        """Load the model from a folder or from ``"owner/name"`` on the Hub, frozen and in evaluation mode.

        Args:
            name_or_folder: the folder that ``save_pretrained`` or ``grasp train`` wrote, or ``"owner/name"``.
            device: where the weights are put.

        Raises:
            GraspPlannerError: files are missing, truncated or do not fit together; the Hub cannot be reached.
        """
        return load_model(cls, StateModelConfig, found_folder(name_or_folder), device)


@dataclass(frozen=True, eq=False)
class DiffusionVersion:
    """A version of a diffusion ``StateModel``: a function F(s, a) with its own noise and smoothness.

    The noise is the same for all rows and at all times, so a plan is a function of the noise. See ``denoiser.Denoiser``
    for the sampling.

    Args:
        model: the diffusion model.
        amount: 0: a sample of the learned distribution, from all noise levels. 1: the smoothest version, which predicts
            the mean over nearby states and actions from the highest noise level alone. Numbers in between are rounded
            to the nearest noise level.
        noise: the noise (o,) from which sampling starts, one number for each output of the network; ``None``: 0.

    Raises:
        GraspPlannerError: the model is deterministic, ``amount`` is not a number from 0 to 1, or ``noise`` has another
            shape.

    Example:
        >>> model = StateModel(StateModelConfig(state_size=2, action_size=1, features="plain_diffusion"))
        >>> smooth = model.seeded(3).smoothed(1.0)
        >>> smooth.amount, smooth(torch.zeros(4, 1, 2), torch.zeros(4, 1, 5)).shape
        (1.0, torch.Size([4, 2]))
    """

    model: StateModel
    amount: float = UNSMOOTHED
    noise: Float[Tensor, " o"] | None = None
    context: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        between_zero_and_one(self, "amount")
        denoiser = self.model.denoiser
        if denoiser is None:
            raise GraspPlannerError(
                f"DiffusionVersion.model must be a diffusion model, got features {self.model.config.features!r}"
            )
        size = (denoiser.outputs,)
        if self.noise is not None and (not isinstance(self.noise, Tensor) or tuple(self.noise.shape) != size):
            raise GraspPlannerError(f"DiffusionVersion.noise must be a tensor {size}, got {self.noise!r}")

    def __call__(self, states: Float[Tensor, "n 1 s"], actions: Float[Tensor, "n 1 a"]) -> Float[Tensor, "n s"]:
        """Return the latents after one model step."""
        denoiser = self.model.denoiser
        assert denoiser is not None
        network = partial(denoiser, amount=self.amount, noise=self.noise)
        return self.model.path(states[:, -1], actions[:, -1], network)[:, -1]

    def smoothed(self, amount: float) -> DiffusionVersion:
        """Return the version with the same noise and another smoothness."""
        return replace(self, amount=amount)
