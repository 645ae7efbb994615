"""CEM: the cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.sampling import Gaussian, check_fit, elites, fitted, mixed
from grasp_planner.planning.candidates import evaluate, spread


@dataclass(frozen=True)
class CEM:
    """Draw plans from a normal distribution, roll them out, and fit the distribution to the best plans.

        a^j ~ clamp(N(mean, std^2)),  j = 1..n-1,    a^0 = mean
        mean, std <- mean and standard deviation of the ``elites`` cheapest

    Args:
        samples: n, candidates per step, including the current mean.
        elites: number of candidates that the distribution is fitted to.
        std: initial standard deviation, in action units.
        min_std: lower limit of the standard deviation, in action units.
        momentum: share of the old mean and standard deviation that is kept at each fit.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range, or there are more elites than samples.

    Example:
        >>> from grasp_planner import CEM
        >>> CEM(samples=64, elites=8).samples
        64

    Source: the planner of DINO-WM (arXiv 2411.04983): 300 samples, 30 elites, 30 rounds, std 1, the mean as first
    candidate. Differences: candidates are clamped to the bounds; candidates of non-finite cost are never elites; the
    plan is the best candidate seen. The variance divides by the number of elites (in DINO-WM, by that number less one).
    """

    samples: int = 300
    elites: int = 30
    std: float = 1.0
    min_std: float = 0.0
    momentum: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_fit(self)

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> Gaussian:
        """Return a normal distribution around the given actions, with the initial standard deviation."""
        return Gaussian(actions, torch.full_like(actions, self.std))

    def step(self, problem: Problem, state: Gaussian, noise: Noise) -> tuple[Gaussian, Scored]:
        """Draw candidates, roll them out, and fit the distribution to the elites."""
        candidates = spread(problem, state.mean, self.samples, state.std, noise)
        cost, best = evaluate(problem, candidates)
        new = fitted(problem, *elites(candidates, cost, self.elites))
        return mixed(problem, new, state, self.momentum, self.min_std), best

    def actions(self, state: Gaussian) -> Float[Tensor, "b t a"]:
        """Return the mean of the distribution."""
        return state.mean

    def with_std(self, state: Gaussian, std: Float[Tensor, "b t a"]) -> Gaussian:
        """Return the distribution with another standard deviation; a sync of GRASP sets it."""
        return state._replace(std=std)
