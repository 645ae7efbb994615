"""``LearnedPolicy``: a network for the next model action on the way to a goal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import discount_of
from grasp_planner.core.problem import Problem
from grasp_planner.models.checkpoint import load_model, save_model, with_positive
from grasp_planner.models.integer_fields import check_integers
from grasp_planner.models.mlp import MLP
from grasp_planner.models.policy_rollout import policy_rollout


@dataclass(frozen=True)
class LearnedPolicyConfig:
    """The configuration of a ``LearnedPolicy``.

    Args:
        latent_size: s, numbers in a latent.
        action_size: a, numbers in a model action.
        horizon: K, the largest number of model steps to the goal that the network distinguishes.
        width: units in a hidden layer.
        depth: hidden layers.

    Raises:
        GraspPlannerError: a number is not a positive integer.

    Example:
        >>> LearnedPolicyConfig(latent_size=3, action_size=1, horizon=10).width
        256
    """

    latent_size: int
    action_size: int
    horizon: int
    width: int = 256
    depth: int = 3

    def __post_init__(self) -> None:
        check_integers(self, dict.fromkeys(("latent_size", "action_size", "horizon", "width", "depth"), 1))


class LearnedPolicy(nn.Module):
    """A goal-conditioned policy over the latents of a world model, which also knows how many model steps are left.

        pi(s, g, k) = mean + std * f([s / scale, d, d / k, k / K]),    d = counted * (g - s) / scale

    The network f is a multilayer perceptron, and k, the number of model steps to the goal, is at most K: more steps
    count as K. ``grasp_planner.training.train_policy`` trains the network. Mean and standard deviation are those of the
    model actions in the training data.

    The policy is used in two forms: a call returns the next model action, and :meth:`actions` returns whole plans.

    Args:
        config: sizes.

    Attributes:
        scale: (s,) typical size of each latent coordinate.
        counted: (s,) 1 for coordinates that count in the distance to a goal, and 0 for coordinates of weight 0, such as
            velocities. The policy does not read the latter from a goal.
        mean, std: (a,) statistics of the model actions.

    Example:
        >>> policy = LearnedPolicy(LearnedPolicyConfig(latent_size=3, action_size=2, horizon=10))
        >>> policy(torch.zeros(4, 3), torch.ones(4, 3), 5).shape
        torch.Size([4, 2])

    Source: goal-conditioned supervised learning (Ghosh et al., ICLR 2021), whose policies also get the number of steps
    to the goal.
    """

    scale: Tensor
    counted: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: LearnedPolicyConfig) -> None:
        super().__init__()
        self.network = MLP(3 * config.latent_size + 1, config.action_size, config.width, config.depth)
        self.config = config
        for name in ("scale", "counted"):
            self.register_buffer(name, torch.ones(config.latent_size))
        self.register_buffer("mean", torch.zeros(config.action_size))
        self.register_buffer("std", torch.ones(config.action_size))

    def forward(
        self, states: Float[Tensor, "*batch s"], goals: Float[Tensor, "*batch s"], steps: int | Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch a"]:
        """Return the next model action from ``states`` to ``goals``, which are ``steps`` model steps away.

        Actions are not clamped to the bounds of the model, which the policy does not know.

        Args:
            states: latents, in the model's own units.
            goals: latents of the goals.
            steps: k, one number for all states or a number for each state. Numbers below 1 count as 1.

        Raises:
            GraspPlannerError: states or goals have another size than the latents of the policy.
        """
        for latents in (states, goals):
            self.check_sizes(latents.shape[-1], self.config.action_size)
        dtype = self.scale.dtype  # the states of a problem can have another precision
        left = torch.as_tensor(steps, device=states.device).clamp(1, self.config.horizon).to(dtype)
        left = left.expand(states.shape[:-1])[..., None]
        away = self.counted * (goals - states).to(dtype) / self.scale
        inputs = torch.cat([states.to(dtype) / self.scale, away, away / left, left / self.config.horizon], dim=-1)
        return (self.mean + self.std * self.network(inputs)).to(states.dtype)

    def actions(self, problem: Problem) -> Float[Tensor, "b t a"]:
        """Return plans without a search: the actions of the policy along its own rollout in the problem's model.

            a_t = clamp(pi(s_t, g, T - t)),    t = 0 .. T-1

        The actions are within the bounds and finite. They cost T - 1 model calls on b rows. As ``warm_start`` of
        ``plan``, they are the initial actions of any planner.

        Args:
            problem: the problems; they have a goal, and the latents and actions of the policy.

        Raises:
            GraspPlannerError: the objective has no goal, or the problem has latents or actions of another size, or it
                is on another device.

        Example:
            >>> from grasp_planner import GD, Budget, Markov, plan
            >>> step = Markov(lambda state, action: state + 0.1 * action)
            >>> problem = Problem.between(step, torch.zeros(4, 2), torch.ones(4, 2), 10, low=-torch.ones(2), high=1)
            >>> policy = LearnedPolicy(LearnedPolicyConfig(latent_size=2, action_size=2, horizon=10))
            >>> plan(problem, GD(), Budget(steps=5), warm_start=policy.actions(problem)).actions.shape
            torch.Size([4, 10, 2])
        """
        self.check_sizes(problem.latent_size, problem.action_size)
        if discount_of(problem.objective) is not None:
            raise GraspPlannerError(
                f"a goal-conditioned policy needs an objective with a goal, got {type(problem.objective).__name__}"
            )
        if problem.low.device != self.scale.device:
            raise GraspPlannerError(
                f"the policy is on {self.scale.device}, and the problem is on {problem.low.device}: load the policy "
                "with from_pretrained(folder, device=...)"
            )
        goal = problem.goal if problem.history is None else problem.goal * problem.unit
        return policy_rollout(problem, lambda states, left: self(states, goal, left), self)

    def check_sizes(self, latent_size: int, action_size: int) -> None:
        """Raise unless latents and model actions have the sizes of the policy.

        Raises:
            GraspPlannerError: a size differs.
        """
        needed = (self.config.latent_size, self.config.action_size)
        if needed != (latent_size, action_size):
            raise GraspPlannerError(
                f"the policy needs latents of {needed[0]} and model actions of {needed[1]} numbers, got {latent_size} "
                f"and {action_size}: train a policy for this model"
            )

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> LearnedPolicy:
        """Load the network saved in ``folder``, frozen and in evaluation mode.

        Raises:
            GraspPlannerError: files are missing, truncated or do not fit together, or a scale is not positive.
        """
        return with_positive(load_model(cls, LearnedPolicyConfig, folder, device), folder, "scale")

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``, each atomically, and return the folder."""
        return save_model(self, self.config, "policy", folder)
