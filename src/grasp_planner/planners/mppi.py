"""MPPI: model predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, flag, whole
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.sampling import Gaussian, fitted
from grasp_planner.planning.candidates import evaluate, spread


@dataclass(frozen=True)
class MPPI:
    """Average candidate plans with weights that decrease exponentially with cost.

        a^j ~ clamp(N(mean, std^2)),  j = 1..n-1,   a^0 = mean
        w_j  ~  exp(-(J_j - min J) / (temperature * (mean J - min J)))
        mean <- sum_j w_j a^j

    Args:
        samples: n, candidates per step, including the current mean.
        temperature: temperature of the weights, in units of mean J - min J. 0: only the best candidate counts; large:
            equal weights.
        std: initial standard deviation of the noise, in action units.
        refit_std: whether the standard deviation follows the weighted candidates, as in TD-MPC2, or is constant.
        min_std: lower limit of the refitted standard deviation, in action units.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range.

    Example:
        >>> from grasp_planner import MPPI
        >>> MPPI(temperature=0.1).temperature
        0.1

    Source: Williams et al., Information Theoretic MPC (ICRA 2017); refitted standard deviation: TD-MPC2 (arXiv
    2310.16828). Difference: the temperature is relative to the spread of the costs, so that one setting fits costs of
    any size.
    """

    samples: int = 300
    temperature: float = 0.05
    std: float = 1.0
    refit_std: bool = True
    min_std: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        whole(self, 2, "samples")
        at_least(self, 0, "temperature", "std", "min_std", "tolerance")
        flag(self, "refit_std")

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> Gaussian:
        """Return a normal distribution around the given actions, with the initial standard deviation."""
        return Gaussian(actions, torch.full_like(actions, self.std))

    def step(self, problem: Problem, state: Gaussian, noise: Noise) -> tuple[Gaussian, Scored]:
        """Draw candidates, roll them out, and average them with their weights."""
        candidates = spread(problem, state.mean, self.samples, state.std, noise)
        cost, best = evaluate(problem, candidates)
        mean, std = fitted(problem, candidates, path_weights(cost, self.temperature))
        return Gaussian(mean, std.clamp(min=self.min_std) if self.refit_std else state.std), best

    def actions(self, state: Gaussian) -> Float[Tensor, "b t a"]:
        """Return the mean of the distribution."""
        return state.mean

    def with_std(self, state: Gaussian, std: Float[Tensor, "b t a"]) -> Gaussian:
        """Return the distribution with another standard deviation; a sync of GRASP sets it."""
        return state._replace(std=std)


def path_weights(cost: Float[Tensor, "b n"], temperature: float) -> Float[Tensor, "b n"]:
    """Compute weights that sum to one and fall exponentially with cost; 0 where the cost is not finite."""
    finite = torch.isfinite(cost)
    lowest = torch.where(finite, cost, torch.inf).amin(1, keepdim=True)
    excess = torch.where(finite, cost - lowest, 0.0)
    spread_of_cost = excess.sum(1, keepdim=True) / finite.sum(1, keepdim=True).clamp(min=1)
    # The smallest positive number avoids 0 / 0 if temperature or spread is 0. The best candidates then share the
    # weight.
    relative = excess / (temperature * spread_of_cost).clamp(min=torch.finfo(cost.dtype).tiny)
    weights = torch.where(finite, torch.exp(-relative), 0.0)
    return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(cost.dtype).tiny)
