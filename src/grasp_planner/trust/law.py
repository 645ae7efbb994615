"""The trust law: the model's error in one step, propagated along a plan, predicts how many steps stay accurate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.checks import whole
from grasp_planner.core.constraints import unconstrained
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import GoalDistance
from grasp_planner.core.problem import Problem
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.planning.meter import Meter


@runtime_checkable
class Disagreeing(Protocol):
    """A model that estimates the uncertainty of one step, such as ``Ensemble``."""

    def disagreement(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, " n"]:
        """Return the disagreement of the members after one step from each window, in units of the scale."""
        ...


@runtime_checkable
class Wrapper(Protocol):
    """A model around a model of the same latents, such as ``Compiled``."""

    @property
    def dynamics(self) -> Dynamics:
        """The inner model."""
        ...


@runtime_checkable
class InPieces(Protocol):
    """A wrapper that splits large calls, such as ``Chunked``."""

    def rows_at_once(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> int:
        """Return the largest number of rows of these shapes that are evaluated at once."""
        ...


def disagreement_of(
    dynamics: Dynamics, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]
) -> Float[Tensor, " n"] | None:
    """Return the disagreement of a model, or of the model inside of its wrappers; ``None`` if it has none.

    If a wrapper splits calls into pieces, this call is split into pieces, too.
    """
    rows = states.shape[0]
    while not isinstance(dynamics, Disagreeing):
        if isinstance(dynamics, InPieces):
            rows = min(rows, dynamics.rows_at_once(states, actions))
        if isinstance(dynamics, Meter):
            inner = dynamics.model
        else:
            inner = dynamics.dynamics if isinstance(dynamics, Wrapper) else None
        if not isinstance(inner, Dynamics):
            return None
        dynamics = inner
    pieces = zip(states.split(rows), actions.split(rows), strict=True)
    return torch.cat([dynamics.disagreement(*piece) for piece in pieces])


@dataclass(frozen=True)
class TrustLaw:
    """Predict the errors of the states of a plan, and up to which model step the plan can be trusted.

        s'_{t+1} = F(s'_t, a_t) + max(step_error, u_t) * scale * xi_t,    e_t = factor * rms_j |s'_t^j - s_t| / scale
        trust = the last t up to which  e_1 .. e_t <= tolerance

    The plan is rolled out ``samples`` times in one batch, with normal noise xi in every step. The rollouts spread where
    small differences grow, for example at a contact or at a wall. u_t is the disagreement if the model is an ensemble,
    and 0 otherwise. Distances are taken over the coordinates whose goal weight is not 0.

    Args:
        step_error: the model's error in one step: root mean square over coordinates, in units of the scale.
        tolerance: the largest acceptable error of a state: root mean square over coordinates, in units of the scale.
        factor: the ratio of true errors to the spread of the rollouts, at the quantile that the caller wants to cover.
            Measure the ratio with a calibration, as ``benchmarks/trust_calibration.py`` does.
        samples: number of noisy rollouts.
        seed: seed of the noise.

    Raises:
        GraspPlannerError: a number is out of range.

    Source: ours.

    Example:
        >>> from grasp_planner import Markov
        >>> step = Markov(lambda state, action: 1.5 * state + action)  # differences grow by a half in each step
        >>> problem = Problem.between(step, torch.ones(1, 2), torch.zeros(1, 2), 10, -torch.ones(2), torch.ones(2))
        >>> TrustLaw(step_error=0.01, tolerance=0.1).horizon(problem, torch.zeros(1, 10, 2))
        tensor([6])
    """

    step_error: float = 0.01
    tolerance: float = 0.1
    factor: float = 1.0
    samples: int = 16
    seed: int = 0

    def errors(self, problem: Problem, actions: Float[Tensor, "b t a"]) -> Float[Tensor, "b t"]:
        """Return the predicted errors e_1 .. e_T of the states of plans.

        Args:
            problem: the b problems.
            actions: ``(b, t, a)`` actions of the plans, in the model's action units.

        Returns:
            ``(b, t)``: root mean squares over the coordinates, in units of the scale; infinite where a rollout is not
            finite.
        """
        count, (batch, horizon, _) = self.samples, actions.shape
        # All problems share the noise, so that the trust in a plan does not depend on the other plans of the batch.
        noise = Noise.of(self.seed, 1, actions.device).normal((count, horizon, problem.latent_size), actions.dtype)
        with planning_mode(problem.states.device, problem.dynamics):
            many = problem.repeat(count + 1)  # the first rollout of each problem has no noise
            window = many.states
            taken = torch.cat([many.past_actions, actions.repeat_interleave(count + 1, dim=0)], dim=1)
            apart = []
            for t in range(horizon):
                blocks = taken[:, t : t + problem.context]
                state = many.call(window, blocks).unflatten(0, (batch, count + 1))
                unsure = torch.full_like(state[:, 0, 0], self.step_error)
                plain = (part.unflatten(0, (batch, count + 1))[:, 0] for part in (window, blocks))
                said = disagreement_of(problem.dynamics, *plain)
                unsure = unsure if said is None else torch.maximum(unsure, said)
                disturbance = unsure[:, None, None] * noise[:, :, t] * problem.unit[:, None]
                state = torch.cat([state[:, :1], state[:, 1:] + disturbance], dim=1)
                apart.append(self.factor * _distance(problem, state[:, 1:], state[:, :1]).square().mean(1).sqrt())
                window = torch.cat([window[:, 1:], state.flatten(0, 1)[:, None]], dim=1)
        errors = torch.stack(apart, dim=1)
        return torch.where(torch.isfinite(errors), errors, torch.inf)

    def horizon(self, problem: Problem, actions: Float[Tensor, "b t a"]) -> Int[Tensor, " b"]:
        """Return the number of model steps, ``(b,)`` from 0 to T, up to which each plan can be trusted.

        Args:
            problem: the b problems.
            actions: ``(b, t, a)`` actions of the plans, in the model's action units.
        """
        return (self.errors(problem, actions) <= self.tolerance).long().cumprod(1).sum(1)

    def __post_init__(self) -> None:
        for name in ("step_error", "tolerance", "factor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise GraspPlannerError(f"TrustLaw.{name} must be a number > 0, got {value!r}")
        whole(self, 1, "samples")


def _distance(problem: Problem, first: Tensor, second: Tensor) -> Tensor:
    """Return the root mean square difference over the coordinates of goal weight > 0, in units of the scale."""
    difference = ((first - second) / problem.unit[:, None]).square()
    counted = torch.ones(problem.latent_size, dtype=difference.dtype, device=difference.device)
    objective = unconstrained(problem.objective)
    if isinstance(objective, GoalDistance):
        counted = (objective.weights_like(difference) > 0).to(difference)
    return ((difference * counted).sum(-1) / counted.sum().clamp(min=1)).sqrt()


def true_errors(
    problem: Problem, planned: Float[Tensor, "b t s"], seen: Float[Tensor, "b t s"]
) -> Float[Tensor, "b t"]:
    """Return the errors of a plan's states compared with the observed states, in the measure of :class:`TrustLaw`."""
    return _distance(problem, planned, seen)
