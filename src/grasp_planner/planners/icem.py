"""ICEM: the cross-entropy method with coloured noise and kept elites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, between_zero_and_one
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.sampling import Gaussian, check_fit, elites, fitted, mixed
from grasp_planner.planning.candidates import evaluate
from grasp_planner.planning.coloured import coloured


class ICEMState(NamedTuple):
    """The distribution, the elites that are evaluated again in the next step, and the number of draws so far."""

    gaussian: Gaussian
    kept: Float[Tensor, "b e t a"]
    draws: int


@dataclass(frozen=True)
class ICEM:
    """Run CEM with noise that is correlated over time, elites kept from step to step, and fewer samples at each step.

        a^j ~ clamp(mean + std * eps^j),   eps with power spectrum 1 / f^beta along time
        n_i = max(n * decay^-i, 2 * elites)

    Args:
        samples: n, new candidates in the first step.
        elites: number of candidates that the distribution is fitted to.
        std: initial standard deviation, in action units.
        min_std: lower limit of the standard deviation, in action units.
        noise_beta: exponent of the noise's spectrum; 0 is white noise, 2 is a random walk.
        kept_share: share of the elites that is evaluated again in the next step.
        decay: factor by which the number of samples falls at each step; 1: the number stays the same.
        momentum: share of the old mean and standard deviation that is kept at each fit.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range, or there are more elites than samples.

    Example:
        >>> from grasp_planner import ICEM
        >>> ICEM(samples=64, elites=8, noise_beta=1.0).noise_beta
        1.0

    Source: iCEM (Pinneri et al., arXiv 2008.06389): beta 2 to 4 by task, elites 10, 30% kept, decay 1.25, momentum 0.1,
    std 0.5. Differences: the mean is a candidate in every step (theirs: in the last), since a planner does not know
    which step is the last.
    """

    samples: int = 300
    elites: int = 30
    std: float = 1.0
    min_std: float = 0.0
    noise_beta: float = 2.0
    kept_share: float = 0.3
    decay: float = 1.0
    momentum: float = 0.1
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_fit(self)
        at_least(self, 0, "noise_beta")
        at_least(self, 1, "decay")
        between_zero_and_one(self, "kept_share")

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> ICEMState:
        """Return a normal distribution around the given actions, with the initial standard deviation, and no elites."""
        nothing = actions.new_zeros(actions.shape[0], 0, *actions.shape[1:])
        return ICEMState(Gaussian(actions, torch.full_like(actions, self.std)), nothing, 0)

    def step(self, problem: Problem, state: ICEMState, noise: Noise) -> tuple[ICEMState, Scored]:
        """Draw candidates, add the mean and the kept elites, roll them out, and fit the distribution to the elites."""
        mean, std = state.gaussian
        samples = max(int(self.samples * self.decay**-state.draws), min(2 * self.elites, self.samples))
        white = noise.normal((samples, *mean.shape[1:]), mean.dtype)
        drawn = problem.clamp(mean[:, None] + std[:, None] * coloured(white, self.noise_beta))
        candidates = torch.cat([mean[:, None], state.kept, drawn], dim=1)
        cost, best = evaluate(problem, candidates)
        cheapest, weights = elites(candidates, cost, self.elites)
        new = fitted(problem, cheapest, weights)
        kept = cheapest[:, : int(self.kept_share * self.elites)]
        return ICEMState(mixed(problem, new, state.gaussian, self.momentum, self.min_std), kept, state.draws + 1), best

    def actions(self, state: ICEMState) -> Float[Tensor, "b t a"]:
        """Return the mean of the distribution."""
        return state.gaussian.mean

    def with_std(self, state: ICEMState, std: Float[Tensor, "b t a"]) -> ICEMState:
        """Return the state with another standard deviation; a sync of GRASP sets it."""
        return state._replace(gaussian=state.gaussian._replace(std=std))
