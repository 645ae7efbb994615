"""MPPI: model predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.candidates import evaluate, spread, weighted_moments
from grasp_planner.planners.checks import at_least, flag, whole


class MPPIState(NamedTuple):
    """The plan, the deviation of the noise around it, and the best candidate of the last draw."""

    mean: Float[Tensor, "b t a"]
    std: Float[Tensor, "b t a"]
    scored: Scored | None


@dataclass(frozen=True)
class MPPI:
    """Average candidate plans, the cheap ones with exponentially more weight.

        a^j ~ clamp(N(mean, std^2)),  j = 1..n-1,   a^0 = mean
        w_j  ~  exp(-(J_j - min J) / (temperature * (mean J - min J)))
        mean <- sum_j w_j a^j

    Args:
        samples: n, candidates a step, the current mean among them.
        temperature: in units of the candidates' spread of cost. 0: the best one; large: the plain average.
        std: standard deviation of the noise, in action units.
        refit_std: whether the deviation follows the weighted candidates, as in TD-MPC2; otherwise it stays.
        min_std: the deviation never falls below this when it is refitted.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range.

    Example:
        >>> from grasp_planner import MPPI
        >>> MPPI(temperature=0.1).temperature
        0.1

    Source: Williams et al., Information Theoretic MPC (ICRA 2017); refitted deviation: TD-MPC2 (arXiv 2310.16828).
    Difference: the temperature is relative to the spread of the costs, so that one setting serves costs of any size.
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

    @property
    def rollouts_per_step(self) -> int:
        """One a sample."""
        return self.samples

    @property
    def rollouts_to_finish(self) -> int:
        """The last mean is not scored yet."""
        return 1

    @property
    def serial_rollouts_to_finish(self) -> int:
        """One, of all at once."""
        return 1

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> MPPIState:
        """Noise around the given actions."""
        return MPPIState(actions, torch.full_like(actions, self.std), None)

    def step(self, problem: Problem, state: MPPIState, noise: Noise) -> MPPIState:
        """Draw, evaluate, average."""
        candidates = spread(problem, state.mean, self.samples, state.std, noise)
        cost, best = evaluate(problem, candidates)
        weights = path_weights(cost, self.temperature)[:, :, None, None]
        mean, std = weighted_moments(candidates, weights)
        mean = problem.clamp(mean)  # averaging rounds
        return MPPIState(mean, std.clamp(min=self.min_std) if self.refit_std else state.std, best)

    def finish(self, problem: Problem, state: MPPIState, noise: Noise) -> MPPIState:
        """Score the last mean."""
        return state._replace(scored=score(problem, state.mean))

    def actions(self, state: MPPIState) -> Float[Tensor, "b t a"]:
        """The mean."""
        return state.mean


def path_weights(cost: Float[Tensor, "b n"], temperature: float) -> Float[Tensor, "b n"]:
    """Weights that sum to one and fall exponentially with cost; none for a cost that is not finite."""
    finite = torch.isfinite(cost)
    lowest = torch.where(finite, cost, torch.inf).amin(1, keepdim=True)
    excess = torch.where(finite, cost - lowest, 0.0)
    spread_of_cost = excess.sum(1, keepdim=True) / finite.sum(1, keepdim=True).clamp(min=1)
    # The smallest number keeps 0 / 0 out where the temperature or the spread is 0: the best candidates then share.
    relative = excess / (temperature * spread_of_cost).clamp(min=torch.finfo(cost.dtype).tiny)
    weights = torch.where(finite, torch.exp(-relative), 0.0)
    return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(cost.dtype).tiny)
