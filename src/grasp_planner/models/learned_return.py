"""``LearnedReturn``: networks for the reward of a model step and for the value of a state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.checks import between_zero_and_one
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.returns import DiscountedReturn
from grasp_planner.models.checkpoint import load_model, save_model, with_positive
from grasp_planner.models.integer_fields import check_integers
from grasp_planner.models.mlp import MLP


@dataclass(frozen=True)
class LearnedReturnConfig:
    """The configuration of a ``LearnedReturn``.

    Args:
        latent_size: s, numbers in a latent.
        action_size: a, numbers in a model action.
        discount: gamma, the discount of a model step, from 0 to below 1.
        width: units in a hidden layer.
        depth: hidden layers.

    Raises:
        GraspPlannerError: a number is out of range.

    Example:
        >>> LearnedReturnConfig(latent_size=3, action_size=1).discount
        0.98
    """

    latent_size: int
    action_size: int
    discount: float = 0.98
    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        check_integers(self, dict.fromkeys(("latent_size", "action_size", "width", "depth"), 1))
        between_zero_and_one(self, "discount")
        if self.discount == 1.0:
            raise GraspPlannerError("LearnedReturnConfig.discount must be below 1, so that values are finite, got 1.0")


class LearnedReturn(nn.Module):
    """A reward model and a value function over the latents of a world model.

        r(s, a) = mean + std * f([s / scale, a]),     V(s) = (mean + std * g(s / scale)) / (1 - gamma)

    The networks f and g are multilayer perceptrons. ``grasp_planner.training.train_value`` trains them. Mean and
    standard deviation are those of the rewards in the training data.

    Args:
        config: sizes and discount.

    Attributes:
        scale: (s,) typical size of each latent coordinate.
        mean, std: statistics of the rewards of a model step.

    Example:
        >>> learned = LearnedReturn(LearnedReturnConfig(latent_size=3, action_size=1))
        >>> learned.reward(torch.zeros(4, 10, 3), torch.zeros(4, 10, 1)).shape, learned.value(torch.zeros(4, 3)).shape
        (torch.Size([4, 10]), torch.Size([4]))
        >>> learned.objective().discount
        0.98
    """

    scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: LearnedReturnConfig) -> None:
        super().__init__()
        self.reward_network = MLP(config.latent_size + config.action_size, 1, config.width, config.depth)
        self.value_network = MLP(config.latent_size, 1, config.width, config.depth)
        self.register_buffer("scale", torch.ones(config.latent_size))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.config = config

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> LearnedReturn:
        """Load the networks saved in ``folder``, frozen and in evaluation mode.

        Raises:
            GraspPlannerError: files are missing, truncated or do not fit together, or a scale is not positive.
        """
        return with_positive(load_model(cls, LearnedReturnConfig, folder, device), folder, "scale")

    def reward(self, states: Float[Tensor, "*batch s"], actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch"]:
        """Return the reward ``(...)`` of a model step from ``states`` ``(..., s)`` with ``actions`` ``(..., a)``.

        Raises:
            GraspPlannerError: states or actions have another size than in the training, or are on another device.
        """
        self.check_inputs(states, actions)
        dtype = self.scale.dtype  # the states of a problem can have another precision
        inputs = torch.cat([states.to(dtype) / self.scale, actions.to(dtype)], dim=-1)
        return (self.mean + self.std * self.reward_network(inputs)[..., 0]).to(states.dtype)

    def value(self, states: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return the discounted sum ``(...)`` of all rewards from ``states`` ``(..., s)`` on.

        Raises:
            GraspPlannerError: states have another size than in the training, or are on another device.
        """
        self.check_inputs(states)
        average = self.mean + self.std * self.value_network(states.to(self.scale.dtype) / self.scale)[..., 0]
        return (average / (1.0 - self.config.discount)).to(states.dtype)

    def check_inputs(self, *given: Tensor) -> None:
        """Raise unless states, and actions if they are given, have the sizes of the networks and are on their device.

        Raises:
            GraspPlannerError: a size or the device differs.
        """
        needed = (self.config.latent_size, self.config.action_size)[: len(given)]
        sizes = tuple(part.shape[-1] for part in given)
        if sizes != needed:
            raise GraspPlannerError(
                f"the reward and the value need latents of {self.config.latent_size} and model actions of "
                f"{self.config.action_size} numbers, got {' and '.join(map(str, sizes))}: learn them for this model"
            )
        if given[0].device != self.scale.device:
            raise GraspPlannerError(
                f"the reward and the value are on {self.scale.device}, and the states are on {given[0].device}: load "
                "the networks with from_pretrained(folder, device=...)"
            )

    def objective(self) -> DiscountedReturn:
        """Return the objective with this reward, this value and this discount."""
        return DiscountedReturn(self.reward, self.value, self.config.discount)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``, each atomically, and return the folder."""
        return save_model(self, self.config, "return", folder)
