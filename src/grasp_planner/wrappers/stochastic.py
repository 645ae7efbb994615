"""Models that predict a distribution: planning with the mean, or with a fixed set of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.world_model import WorldModel, environment_actions, goal_objective, model_actions


@runtime_checkable
class Stochastic(WorldModel, Protocol):
    """A world model that predicts a distribution. A call returns the mean, so planners use the mean by default.

    Example:
        >>> from grasp_planner.models import Ensemble, load_world_model
        >>> ensemble = Ensemble([load_world_model("pusht-state"), load_world_model("pusht-state")])
        >>> mean, std = ensemble.distribution(torch.zeros(4, 1, 9), torch.zeros(4, 1, 10))
        >>> isinstance(ensemble, Stochastic), mean.shape, std.shape
        (True, torch.Size([4, 9]), torch.Size([4, 9]))
    """

    def distribution(
        self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Return the mean and standard deviation of each coordinate of the next state."""
        ...


class Sampled:
    """A world model of k sampled futures. The noise of the samples is the same in every iteration and for every plan.

        s = [ z_1 , .. , z_k , t ]      z_i' = mean(z_i, a) + std(z_i, a) * xi[t, i],     t' = t + 1

    All plans are evaluated on the same samples, so costs are deterministic and differentiable. A plan can overfit to
    the k samples, so k should be larger for larger noise. All samples have the same goal, and ``goal_weights`` averages
    over them. One transition of this model evaluates k transitions of ``model``.

    Args:
        model: a world model that predicts mean and standard deviation.
        samples: k, number of samples.
        steps: model steps until the noise repeats; at least the horizon.
        seed: seed of the noise.

    Raises:
        GraspPlannerError: the model does not predict a distribution, or a number is out of range.

    Example:
        >>> from grasp_planner.models import Ensemble, Sampled, load_world_model
        >>> ensemble = Ensemble([load_world_model("pusht-state"), load_world_model("pusht-state")])
        >>> futures = Sampled(ensemble, samples=4)
        >>> futures.scale.shape
        torch.Size([37])

    Source: common random numbers, as in PEGASUS (Ng and Jordan, UAI 2000).
    """

    def __init__(self, model: Stochastic, samples: int = 8, *, steps: int = 128, seed: int = 0) -> None:
        if not isinstance(model, Stochastic):
            raise GraspPlannerError(
                f"Sampled needs a world model with distribution(states, actions), got {type(model).__name__}"
            )
        for name, value in (("samples", samples), ("steps", steps)):
            if type(value) is not int or value < 1:
                raise GraspPlannerError(f"Sampled.{name} must be an integer >= 1, got {value!r}")
        self.model, self.samples = model, samples
        self.context, self.frameskip = model.context, model.frameskip
        scale = model.scale
        drawn = Noise.of(seed, problems=1, device=scale.device).normal((steps, samples, len(scale)), scale.dtype)
        self.noise = drawn[0]

    @property
    def low(self) -> Float[Tensor, " a"]:
        """(a,) lower bounds of a model action."""
        return self.model.low

    @property
    def high(self) -> Float[Tensor, " a"]:
        """(a,) upper bounds."""
        return self.model.high

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) the model's scale for every sample, and 1 for the time."""
        scale = self.model.scale
        return torch.cat([scale.repeat(self.samples), scale.new_ones(1)])

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) the model's weights divided by k, so that the cost is the mean over samples; 0 for the time."""
        weights = goal_objective(self.model).weights_like(self.model.scale)
        return torch.cat([weights.repeat(self.samples) / self.samples, weights.new_zeros(1)])

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict one step of every sample."""
        count = len(states)
        futures = states[..., :-1].unflatten(-1, (self.samples, -1)).movedim(2, 1).flatten(0, 1)
        mean, std = self.model.distribution(futures, actions.repeat_interleave(self.samples, dim=0))
        # A planner can change virtual states, which contain the time. The nearest integer to the time selects the
        # noise.
        step = states[:, -1, -1].detach().round().long().remainder(len(self.noise))
        after = mean + std * self.noise.to(mean)[step].flatten(0, 1)
        return torch.cat([after.unflatten(0, (count, self.samples)).flatten(1), states[:, -1, -1:] + 1.0], dim=-1)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode observations: all samples begin with the observed state, at time 0."""
        latents = self.model.encode(observations)
        return torch.cat([latents.repeat(1, 1, self.samples), latents.new_zeros(*latents.shape[:2], 1)], dim=-1)

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions with the units of ``model``."""
        return environment_actions(self.model, actions)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
        return model_actions(self.model, actions)
