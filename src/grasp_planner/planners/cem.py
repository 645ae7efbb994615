"""CEM: the cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.candidates import elites, evaluate, spread, weighted_moments
from grasp_planner.planners.checks import at_least, whole


class CEMState(NamedTuple):
    """The normal distribution that the next candidates are drawn from, and the best of the last ones."""

    mean: Float[Tensor, "b t a"]
    std: Float[Tensor, "b t a"]
    scored: Scored | None


@dataclass(frozen=True)
class CEM:
    """Draw plans from a normal distribution, roll them out, and fit it to the best.

        a^j ~ clamp(N(mean, std^2)),  j = 1..n-1,    a^0 = mean
        mean, std <- mean and standard deviation of the ``elites`` cheapest

    Args:
        samples: n, candidates a step, the current mean among them.
        elites: how many the distribution is fitted to.
        std: standard deviation at the start, in action units.
        min_std: the standard deviation never falls below this.
        momentum: share of the old mean and deviation that is kept at each fit.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range, or there are more elites than samples.

    Example:
        >>> from grasp_planner import CEM
        >>> CEM(samples=64, elites=8).rollouts_per_step
        64

    Source: the planner of DINO-WM (arXiv 2411.04983): 300 samples, 30 elites, 30 rounds, std 1, the mean as first
    candidate. Differences: bounds hold, candidates of non-finite cost are never elites, the best candidate seen is
    the plan. The deviation divides by the number of elites (theirs by one less).
    """

    samples: int = 300
    elites: int = 30
    std: float = 1.0
    min_std: float = 0.0
    momentum: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        whole(self, 2, "samples")
        whole(self, 1, "elites")
        at_least(self, 0, "std", "min_std", "momentum", "tolerance")
        if self.elites > self.samples:
            raise GraspPlannerError(f"CEM.elites must be <= samples ({self.samples}), got {self.elites}")
        if self.momentum >= 1:
            raise GraspPlannerError(f"CEM.momentum must be < 1, got {self.momentum}")

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

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> CEMState:
        """A wide distribution around the given actions."""
        return CEMState(actions, torch.full_like(actions, self.std), None)

    def step(self, problem: Problem, state: CEMState, noise: Noise) -> CEMState:
        """Draw, evaluate, refit."""
        candidates = spread(problem, state.mean, self.samples, state.std, noise)
        cost, best = evaluate(problem, candidates)
        mean, std = weighted_moments(*elites(candidates, cost, self.elites))
        mean = problem.clamp(torch.lerp(mean, state.mean, self.momentum))  # averaging rounds
        std = torch.lerp(std, state.std, self.momentum).clamp(min=self.min_std)
        return CEMState(mean, std, best)

    def finish(self, problem: Problem, state: CEMState, noise: Noise) -> CEMState:
        """Score the last mean."""
        return state._replace(scored=score(problem, state.mean))

    def actions(self, state: CEMState) -> Float[Tensor, "b t a"]:
        """The mean."""
        return state.mean
