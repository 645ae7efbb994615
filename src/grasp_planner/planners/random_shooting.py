"""Random shooting: the floor that every other sampler must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.candidates import evaluate
from grasp_planner.planners.checks import at_least, whole


class RandomShootingState(NamedTuple):
    """The best plan of the last draw."""

    best: Float[Tensor, "b t a"]
    scored: Scored | None


@dataclass(frozen=True)
class RandomShooting:
    """Plans drawn uniformly within the bounds; the best one seen is kept.

        a^j ~ U(low, high),  j = 1..n

    Args:
        samples: n, candidates a step.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range; or, when planning, a bound is infinite.

    Example:
        >>> from grasp_planner import RandomShooting
        >>> RandomShooting(samples=100).rollouts_per_step
        100

    Source: folklore; see Nagabandi et al. (arXiv 1708.02596) for its use with learned models.
    """

    samples: int = 300
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        whole(self, 1, "samples")
        at_least(self, 0, "tolerance")

    @property
    def rollouts_per_step(self) -> int:
        """One a sample."""
        return self.samples

    @property
    def rollouts_to_finish(self) -> int:
        """Everything is scored already."""
        return 0

    @property
    def serial_rollouts_to_finish(self) -> int:
        """Nothing is left to do."""
        return 0

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> RandomShootingState:
        """The given actions."""
        if not bool(torch.isfinite(problem.low).all() & torch.isfinite(problem.high).all()):
            raise GraspPlannerError(
                f"RandomShooting draws within the bounds and needs them finite, got low {problem.low.tolist()}, "
                f"high {problem.high.tolist()}"
            )
        return RandomShootingState(actions, None)

    def step(self, problem: Problem, state: RandomShootingState, noise: Noise) -> RandomShootingState:
        """Draw and evaluate."""
        uniform = noise.uniform((self.samples, *state.best.shape[1:]), state.best.dtype)
        candidates = problem.clamp(problem.low + (problem.high - problem.low) * uniform)
        _, best = evaluate(problem, candidates)
        return RandomShootingState(best.actions, best)

    def finish(self, problem: Problem, state: RandomShootingState, noise: Noise) -> RandomShootingState:
        """Nothing is left to do."""
        return state._replace(scored=None)

    def actions(self, state: RandomShootingState) -> Float[Tensor, "b t a"]:
        """The best plan of the last draw."""
        return state.best
