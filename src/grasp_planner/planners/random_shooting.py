"""Random shooting: a baseline for planners that sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, whole
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planning.candidates import evaluate


class RandomShootingState(NamedTuple):
    """The best plan of the last draw."""

    best: Float[Tensor, "b t a"]


@dataclass(frozen=True)
class RandomShooting:
    """Draw plans uniformly within the bounds. The best plan seen is the result.

        a^j ~ U(low, high),  j = 1..n

    Args:
        samples: n, candidates per step.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range; or, when planning, a bound is infinite.

    Example:
        >>> from grasp_planner import RandomShooting
        >>> RandomShooting(samples=100).samples
        100

    Source: common practice; see Nagabandi et al. (arXiv 1708.02596) for the use with learned models.
    """

    samples: int = 300
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        whole(self, 1, "samples")
        at_least(self, 0, "tolerance")

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> RandomShootingState:
        """Start with the given actions."""
        if not bool(torch.isfinite(problem.low).all() & torch.isfinite(problem.high).all()):
            raise GraspPlannerError(
                f"RandomShooting draws within the bounds and needs them finite, got low {problem.low.tolist()}, "
                f"high {problem.high.tolist()}"
            )
        return RandomShootingState(actions)

    def step(self, problem: Problem, state: RandomShootingState, noise: Noise) -> tuple[RandomShootingState, Scored]:
        """Draw candidates, roll them out, and keep the best candidate."""
        uniform = noise.uniform((self.samples, *state.best.shape[1:]), state.best.dtype)
        candidates = problem.clamp(problem.low + (problem.high - problem.low) * uniform)
        _, best = evaluate(problem, candidates)
        return RandomShootingState(best.actions), best

    def actions(self, state: RandomShootingState) -> Float[Tensor, "b t a"]:
        """Return the best plan of the last draw."""
        return state.best
