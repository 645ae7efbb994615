"""ICEM: the cross-entropy method with coloured noise and kept elites."""

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
from grasp_planner.planners.candidates import elites, evaluate, weighted_moments
from grasp_planner.planners.checks import at_least, whole


class ICEMState(NamedTuple):
    """The distribution, the elites that are tried again, and the number of draws so far."""

    mean: Float[Tensor, "b t a"]
    std: Float[Tensor, "b t a"]
    kept: Float[Tensor, "b e t a"]
    draws: int
    scored: Scored | None


@dataclass(frozen=True)
class ICEM:
    """CEM with noise that is correlated over time, elites kept from step to step, and fewer samples as it narrows.

        a^j ~ clamp(mean + std * eps^j),   eps with power spectrum 1 / f^beta along time
        n_i = max(n * decay^-i, 2 * elites)

    Args:
        samples: n, new candidates in the first step.
        elites: how many the distribution is fitted to.
        std: standard deviation at the start, in action units.
        min_std: the standard deviation never falls below this.
        noise_beta: exponent of the noise's spectrum; 0 is white, 2 a random walk.
        kept_share: share of the elites that is evaluated again in the next step.
        decay: factor by which the number of samples falls each step; 1 keeps it.
        momentum: share of the old mean and deviation that is kept at each fit.
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
        whole(self, 2, "samples")
        whole(self, 1, "elites")
        at_least(self, 0, "std", "min_std", "noise_beta", "kept_share", "momentum", "tolerance")
        at_least(self, 1, "decay")
        if self.elites > self.samples:
            raise GraspPlannerError(f"ICEM.elites must be <= samples ({self.samples}), got {self.elites}")
        if self.momentum >= 1 or self.kept_share > 1:
            raise GraspPlannerError(
                f"ICEM needs momentum < 1 and kept_share <= 1, got {self.momentum} and {self.kept_share}"
            )

    @property
    def rollouts_per_step(self) -> int:
        """At most: the new samples, the mean, and the kept elites."""
        return self.samples + 1 + int(self.kept_share * self.elites)

    @property
    def rollouts_to_finish(self) -> int:
        """The last mean is not scored yet."""
        return 1

    @property
    def serial_rollouts_to_finish(self) -> int:
        """One, of all at once."""
        return 1

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> ICEMState:
        """A wide distribution around the given actions, and no elites yet."""
        nothing = actions.new_zeros(actions.shape[0], 0, *actions.shape[1:])
        return ICEMState(actions, torch.full_like(actions, self.std), nothing, 0, None)

    def step(self, problem: Problem, state: ICEMState, noise: Noise) -> ICEMState:
        """Draw, add the mean and the kept elites, evaluate, refit."""
        samples = max(int(self.samples * self.decay**-state.draws), min(2 * self.elites, self.samples))
        white = noise.normal((samples, *state.mean.shape[1:]), state.mean.dtype)
        around = problem.clamp(state.mean[:, None] + state.std[:, None] * coloured(white, self.noise_beta))
        candidates = torch.cat([state.mean[:, None], state.kept, around], dim=1)
        cost, best = evaluate(problem, candidates)
        chosen, weights = elites(candidates, cost, self.elites)
        mean, std = weighted_moments(chosen, weights)
        mean = problem.clamp(torch.lerp(mean, state.mean, self.momentum))  # averaging rounds
        std = torch.lerp(std, state.std, self.momentum).clamp(min=self.min_std)
        kept = chosen[:, : int(self.kept_share * self.elites)]
        return ICEMState(mean, std, kept, state.draws + 1, best)

    def finish(self, problem: Problem, state: ICEMState, noise: Noise) -> ICEMState:
        """Score the last mean."""
        return state._replace(scored=score(problem, state.mean))

    def actions(self, state: ICEMState) -> Float[Tensor, "b t a"]:
        """The mean."""
        return state.mean


def coloured(white: Float[Tensor, "b n t a"], beta: float) -> Float[Tensor, "b n t a"]:
    """White noise along time filtered to the power spectrum 1 / f^beta, with unit variance.

    As in iCEM the constant component gets the power of the slowest oscillation.
    """
    horizon = white.shape[2]
    frequency = torch.arange(horizon // 2 + 1, dtype=white.dtype, device=white.device).clamp(min=1.0)
    amplitude = frequency ** (-beta / 2)
    # Each inner frequency stands for two bins of the full spectrum, its own and the mirrored one.
    copies = torch.full_like(amplitude, 2.0)
    copies[0] = 1.0
    if horizon % 2 == 0:
        copies[-1] = 1.0
    amplitude = amplitude * (horizon / (copies * amplitude.square()).sum()).sqrt()
    spectrum = torch.fft.rfft(white, dim=2) * amplitude[:, None]
    return torch.fft.irfft(spectrum, n=horizon, dim=2)
