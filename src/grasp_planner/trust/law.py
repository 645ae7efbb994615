"""How far a plan can be believed: the error that a model makes each step, carried along the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.frozen import frozen
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import GoalDistance
from grasp_planner.core.problem import Problem
from grasp_planner.planning.meter import Meter
from grasp_planner.wrappers.chunked import Chunked
from grasp_planner.wrappers.compiled import Compiled
from grasp_planner.wrappers.low_precision import LowPrecision


@runtime_checkable
class Disagreeing(Protocol):
    """A model that says how sure it is of one step, such as ``Ensemble``, in units of its scale."""

    def disagreement(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, " n"]:
        """How far its members are apart after one step from each window."""
        ...


def disagreement_of(
    dynamics: Dynamics, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]
) -> Float[Tensor, " n"] | None:
    """What a model, or the model in a wrapper, says of its own sureness; ``None``: it says nothing.

    Where a wrapper cuts calls into pieces, this one is cut, too.
    """
    rows = states.shape[0]
    while not isinstance(dynamics, Disagreeing):
        if isinstance(dynamics, Meter):
            dynamics = dynamics.model
        elif isinstance(dynamics, (Chunked, Compiled, LowPrecision)):
            if isinstance(dynamics, Chunked):
                rows = min(rows, dynamics.rows_at_once(states, actions))
            dynamics = dynamics.dynamics
        else:
            return None
    pieces = zip(states.split(rows), actions.split(rows), strict=True)
    return torch.cat([dynamics.disagreement(*piece) for piece in pieces])


@dataclass(frozen=True)
class TrustLaw:
    """When to stop believing a plan: where what is unknown of each step has grown beyond a tolerance.

        s'_{t+1} = F(s'_t, a_t) + max(step_error, u_t) * scale * xi_t,    e_t = factor * rms_j |s'_t^j - s_t| / scale
        trust = the last t up to which  e_1 .. e_t <= tolerance

    The plan is rolled out ``shakes`` times with that noise, in one batch, so that a contact, a wall or any other place
    where small differences grow is seen. u_t is the disagreement of an ensemble, where the model is one. Distances are
    over the coordinates that count towards the goal.

    Args:
        step_error: what the model errs in one step, root mean square over coordinates, in units of the scale.
        tolerance: the error that is still acceptable, likewise.
        factor: from a calibration: how much larger true errors are (at the wanted quantile) than these.
        shakes: rollouts.
        seed: of their noise.

    Raises:
        GraspPlannerError: a number is out of range.

    Example:
        >>> from grasp_planner import Markov
        >>> step = Markov(lambda state, action: 1.5 * state + action)  # differences grow by half a step
        >>> problem = Problem.between(step, torch.ones(1, 2), torch.zeros(1, 2), 10, -torch.ones(2), torch.ones(2))
        >>> TrustLaw(step_error=0.01, tolerance=0.1).horizon(problem, torch.zeros(1, 10, 2))
        tensor([6])
    """

    step_error: float = 0.01
    tolerance: float = 0.1
    factor: float = 1.0
    shakes: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("step_error", "tolerance", "factor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise GraspPlannerError(f"TrustLaw.{name} must be a number > 0, got {value!r}")
        if type(self.shakes) is not int or self.shakes < 1:
            raise GraspPlannerError(f"TrustLaw.shakes must be an integer >= 1, got {self.shakes!r}")

    def errors(self, problem: Problem, actions: Float[Tensor, "b t a"]) -> Float[Tensor, "b t"]:
        """e_1 .. e_T: how far the plan's states may be off, infinite from where they are not finite."""
        count, (batch, horizon, _) = self.shakes, actions.shape
        # The same noise for every problem, so that its trust does not depend on its batch-mates.
        noise = Noise.of(self.seed, 1, actions.device).normal((count, horizon, problem.latent_size), actions.dtype)
        with torch.no_grad(), frozen(problem.dynamics):
            many = problem.repeat(count + 1)  # the first of each is the plan itself
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
                shake = unsure[:, None, None] * noise[:, :, t] * problem.unit[:, None]
                state = torch.cat([state[:, :1], state[:, 1:] + shake], dim=1)
                apart.append(self.factor * _distance(problem, state[:, 1:], state[:, :1]).square().mean(1).sqrt())
                window = torch.cat([window[:, 1:], state.flatten(0, 1)[:, None]], dim=1)
        errors = torch.stack(apart, dim=1)
        return torch.where(torch.isfinite(errors), errors, torch.inf)

    def horizon(self, problem: Problem, actions: Float[Tensor, "b t a"]) -> Int[Tensor, " b"]:
        """The number of steps up to which each plan can be believed, from 0 to T."""
        return (self.errors(problem, actions) <= self.tolerance).long().cumprod(1).sum(1)


def _distance(problem: Problem, first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference over the coordinates that count, in units of the scale; last axis gone."""
    difference = ((first - second) / problem.unit[:, None]).square()
    counted = torch.ones(problem.latent_size, dtype=difference.dtype, device=difference.device)
    if isinstance(problem.objective, GoalDistance):
        counted = (problem.objective.weights_like(difference) > 0).to(difference)
    return ((difference * counted).sum(-1) / counted.sum().clamp(min=1)).sqrt()


def true_errors(
    problem: Problem, planned: Float[Tensor, "b t s"], seen: Float[Tensor, "b t s"]
) -> Float[Tensor, "b t"]:
    """How far a plan's states turned out to be off, in the measure of :class:`TrustLaw`."""
    return _distance(problem, planned, seen)
