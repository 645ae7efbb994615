"""Stochastic models and action noise: planning with the mean, with a fixed set of samples, or by risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.checks import at_least, between_zero_and_one, whole
from grasp_planner.core.constraints import Constrained
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import Objective, costs_of
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

        s = [ z_1 , .. , z_k , t ]      z_i' = mean(z_i, c_i) + std(z_i, c_i) * xi[t, i],     t' = t + 1

        c_i = a + e[t, i]

    There are two kinds of noise, and a model can have both. A model that predicts a distribution (:class:`Stochastic`)
    has the noise xi on its states. Any world model can have the noise e on its actions: an independent normal number
    with standard deviation ``action_noise`` is added to each coordinate of each environment action. The actions of a
    plan are the actions before the noise; ``low`` and ``high`` limit these.

    All plans are evaluated on the same samples, so costs are deterministic and differentiable. A plan can overfit to
    the k samples, so k should be larger for larger noise. All samples have the same goal, and ``goal_weights`` averages
    over them; :class:`CVaR` is the risk-averse objective. One transition of this model evaluates k transitions of
    ``model``.

    Args:
        model: a world model; without ``action_noise``, one that predicts mean and standard deviation.
        samples: k, number of samples.
        steps: model steps until the noise repeats; at least the horizon.
        seed: seed of the noise.
        action_noise: standard deviation of the noise on environment actions, in the environment's units.
        action_bounds: low and high, to which the environment clips actions after the noise, in the environment's units;
            ``None``: the environment does not clip, or there is no action noise.

    Raises:
        GraspPlannerError: the model does not predict a distribution and there is no action noise, there are action
            bounds and no action noise, or a setting is out of range.

    Example:
        >>> from grasp_planner.models import Ensemble, Sampled, load_world_model
        >>> ensemble = Ensemble([load_world_model("pusht-state"), load_world_model("pusht-state")])
        >>> futures = Sampled(ensemble, samples=4)
        >>> futures.scale.shape
        torch.Size([37])
        >>> Sampled(load_world_model("pusht-state"), samples=4, action_noise=0.1).scale.shape
        torch.Size([33])

    Source: common random numbers, as in PEGASUS (Ng and Jordan, UAI 2000).
    """

    def __init__(
        self,
        model: WorldModel,
        samples: int = 8,
        *,
        steps: int = 128,
        seed: int = 0,
        action_noise: float = 0.0,
        action_bounds: tuple[float, float] | None = None,
    ) -> None:
        self.model, self.samples, self.action_noise = model, samples, action_noise
        for name, value in (("samples", samples), ("steps", steps)):
            if type(value) is not int or value < 1:
                raise GraspPlannerError(f"Sampled.{name} must be an integer >= 1, got {value!r}")
        at_least(self, 0, "action_noise")
        self._distribution = model.distribution if isinstance(model, Stochastic) else None
        if self._distribution is None and action_noise == 0:
            raise GraspPlannerError(
                "Sampled needs a world model with distribution(states, actions), or action_noise > 0, got "
                f"{type(model).__name__} without action noise"
            )
        if action_bounds is not None and not (len(action_bounds) == 2 and action_bounds[0] <= action_bounds[1]):
            raise GraspPlannerError(f"Sampled.action_bounds must be (low, high) with low <= high, got {action_bounds}")
        if action_bounds is not None and action_noise == 0:
            raise GraspPlannerError(
                f"Sampled.action_bounds clip actions after the noise, got {action_bounds} without action_noise"
            )
        self.action_bounds = action_bounds
        self.context, self.frameskip = model.context, model.frameskip
        scale = model.scale
        streams = Noise.of(seed, problems=1, device=scale.device)
        self.noise = streams.normal((steps, samples, len(scale)), scale.dtype)[0]
        self.action_errors = action_noise * streams.fold(0).normal((steps, samples, len(model.low)), scale.dtype)[0]

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
        # A planner can change virtual states, which contain the time. The nearest integer to the time selects the
        # noise.
        time = states[:, -1, -1].detach().round().long()
        blocks = actions.repeat_interleave(self.samples, dim=0)
        if self.action_noise > 0:
            blocks = self._with_noise(blocks, time)
        if self._distribution is None:
            after = self.model(futures, blocks)
        else:
            mean, std = self._distribution(futures, blocks)
            after = mean + std * self.noise.to(mean)[time.remainder(len(self.noise))].flatten(0, 1)
        return torch.cat([after.unflatten(0, (count, self.samples)).flatten(1), states[:, -1, -1:] + 1.0], dim=-1)

    def _with_noise(self, blocks: Float[Tensor, "n_k h a"], time: Int[Tensor, " n"]) -> Float[Tensor, "n_k h a"]:
        """Return the actions that the environment executes, for windows whose newest action is taken at ``time``.

        Actions before time 0 were executed before the plan began. The observed states contain the effects of their
        noise, so they are not changed.
        """
        taken_at = time[:, None] + torch.arange(1 - self.context, 1, device=time.device)
        errors = self.action_errors.to(blocks)[taken_at.remainder(len(self.action_errors))]
        errors = (errors * (taken_at >= 0)[:, :, None, None]).movedim(2, 1).flatten(0, 1)
        executed = environment_actions(self.model, blocks)
        executed = executed + errors.reshape(executed.shape)
        if self.action_bounds is not None:
            executed = executed.clamp(*self.action_bounds)
        return model_actions(self.model, executed)

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


@dataclass(frozen=True, eq=False)
class CVaR:
    """An objective for :class:`Sampled`: the mean cost of the worst samples (conditional value at risk).

        phi(s, g)  =  CVaR( phi_0(z_1, g), .., phi_0(z_k, g) ),      l(s, a)  =  CVaR( l_0(z_1, a), .., l_0(z_k, a) )

        CVaR(c)  =  mean of the alpha k largest of c_1 .. c_k

    If alpha k is not an integer, the last of these costs counts with the fraction that is left. At least one sample
    counts. With alpha = 1, the cost is the mean over all samples, whatever the objective inside is. For the distance to
    the goal, ``GoalDistance(Sampled.goal_weights)`` is the same mean as a sum of squares.

    With a stage cost, the CVaR is taken at each step. The sum of these is at least the CVaR of the total cost.

    The cost is not a sum of squares. Its gradient reaches the worst samples only.

    Args:
        objective: an objective on latents z of a single sample, such as ``goal_objective(model)``.
        samples: k, the number of samples of ``Sampled``.
        alpha: share of the worst samples, above 0 and at most 1.

    Raises:
        GraspPlannerError: a setting is out of range, or the objective has constraints, which belong around ``CVaR``;
            or, when it is evaluated, a latent does not divide into this number of samples.

    Example:
        >>> from grasp_planner import GoalDistance
        >>> worst_half = CVaR(GoalDistance(), samples=4, alpha=0.5)
        >>> states = torch.tensor([1.0, 2.0, 3.0, 0.0, 8.0])  # four samples, and the time
        >>> worst_half.terminal(states, torch.zeros(5))  # (3^2 + 2^2) / 2
        tensor(6.5000)

    Source: Rockafellar and Uryasev, Optimization of conditional value-at-risk, Journal of Risk 2 (2000).
    """

    objective: Objective
    samples: int
    alpha: float = 0.25

    def __post_init__(self) -> None:
        whole(self, 1, "samples")
        between_zero_and_one(self, "alpha")
        if self.alpha == 0:
            raise GraspPlannerError("CVaR.alpha must be above 0, since it is the share of samples that count, got 0")
        if isinstance(self.objective, Constrained):
            raise GraspPlannerError(
                "CVaR.objective must be an objective without constraints, got Constrained: "
                "use Constrained(CVaR(objective, samples), event)"
            )

    def terminal(self, states: Float[Tensor, "*batch s"], goal: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return the mean of the largest terminal costs of the samples."""
        futures = self._futures(states)
        return self._worst(costs_of("terminal", self.objective.terminal(futures, self._futures(goal)), futures))

    def stage(
        self, states: Float[Tensor, "*batch s"], actions: Float[Tensor, "*batch a"], goal: Float[Tensor, "*batch s"]
    ) -> Float[Tensor, "*batch"]:
        """Return the mean of the largest stage costs of the samples."""
        futures = self._futures(states)
        taken = actions[..., None, :].expand(*futures.shape[:-1], -1)
        return self._worst(costs_of("stage", self.objective.stage(futures, taken, self._futures(goal)), futures))

    def _futures(self, states: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch k z"]:
        size = states.shape[-1]
        if size <= self.samples or (size - 1) % self.samples:
            raise GraspPlannerError(
                f"CVaR needs latents of {self.samples} samples of equal size, and the time, got latents of {size} "
                "numbers: give CVaR as many samples as Sampled"
            )
        return states[..., :-1].unflatten(-1, (self.samples, -1))

    def _worst(self, costs: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
        """Return the mean of the largest costs. A cost that is not a number counts as the largest."""
        size = max(1.0, round(self.alpha * self.samples, 9))  # rounded, since 0.7 * 10 is not 7
        entire = int(size)
        worst = costs.topk(entire + (size > entire)).values
        total = worst[..., :entire].sum(-1)
        return (total if size == entire else total + (size - entire) * worst[..., entire]) / size
