"""Constraints: an objective with events that a plan must satisfy, the penalty for margins, and the violation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.checks import at_least
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.events import Event, Path, of_trajectories
from grasp_planner.core.objectives import BoundedBelow, Objective

if TYPE_CHECKING:
    from grasp_planner.core.problem import Problem


@dataclass(frozen=True, eq=False)
class Constrained:
    """An objective with an event that plans must satisfy.

        J'  =  J + weight * sum_i max(0, clearance + u_i - m_i)^2 + (violation_cost if the event does not hold)

    The m_i are the margins of the terms of the event, for states in the model's own units: the parts of ``&`` and the
    steps of ``always`` are separate terms without smoothing, and every other event is one term. The shift u is 0; only
    :class:`~grasp_planner.planning.augmented_lagrangian.AugmentedLagrangian` raises it. ``Plan.violation`` and
    ``Plan.status`` are about the exact margin of the event, without clearance, smoothing and shift.

    The penalty is a sum of squares, so ``GaussNewton`` can plan if J is a sum of squares. The violation cost has no
    gradient. It ranks plans: a plan that satisfies the event is better than a plan that violates the event, unless its
    J' without violation cost is more than ``violation_cost`` higher.

    Args:
        objective: J, the objective without constraints.
        event: the event, made by ``always`` and ``eventually``.
        weight: weight of the penalty, in cost per squared unit of the margin.
        clearance: the margin below which the penalty begins, in units of the margin. With a clearance, a plan can end
            on the penalty's slope and still satisfy the event.
        violation_cost: added to the cost of a plan that violates the event.
        smoothing: tau of the smooth minimum and maximum, in units of the margin; see :class:`Event`. 0: exact.

    Raises:
        GraspPlannerError: a setting is out of range, ``objective`` is not an objective without constraints, or
            ``event`` is not an event of whole trajectories.

    Example:
        >>> from grasp_planner import GD, Budget, GoalDistance, Markov, Problem, always, inside_ball, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> zone = inside_ball(lambda states: states, centre=(0.5, 0.1), radius=0.2)
        >>> objective = Constrained(GoalDistance(), always(~zone), weight=100.0, clearance=0.02)
        >>> start, goal = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
        >>> problem = Problem.between(step, start, goal, 20, -torch.ones(2), torch.ones(2), objective=objective)
        >>> found = plan(problem, GD(lr=0.05), Budget(steps=200))
        >>> found.status, found.violation
        ([BUDGET], tensor([0.]))

    Source: penalty methods as in Nocedal and Wright, Numerical Optimization (2006), chapter 17.
    """

    objective: Objective
    event: Event
    weight: float = 10.0
    clearance: float = 0.05
    violation_cost: float = 100.0
    smoothing: float = 0.05
    shift: Float[Tensor, "b k"] | None = field(default=None, repr=False)
    """The shift u of each problem and term, in units of the margin; ``None``: 0."""

    def __post_init__(self) -> None:
        at_least(self, 0, "weight", "clearance", "violation_cost", "smoothing")
        if not isinstance(self.objective, Objective) or isinstance(self.objective, (type, Constrained)):
            raise GraspPlannerError(
                "Constrained.objective must be an objective without constraints, such as GoalDistance(), got "
                f"{self.objective!r}. Join several events with &"
            )
        of_trajectories(self.event, "Constrained.event")

    @property
    def least_cost(self) -> float:
        """The least cost of the objective; minus infinity if it is not known, so that no problem is solved."""
        return self.objective.least_cost if isinstance(self.objective, BoundedBelow) else -math.inf

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:
        """Return the terminal cost of the objective."""
        return self.objective.terminal(states, goal)

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        """Return the stage cost of the objective."""
        return self.objective.stage(states, actions, goal)

    def shortfall(self, path: Path) -> Float[Tensor, "b k"]:
        """Return max(0, clearance + u - m), by which the margin of each term is too small.

        Raises:
            GraspPlannerError: there is not one shift for each term.
        """
        wanted = self.clearance - self.event.terms(path, self.smoothing)
        if self.shift is not None:  # rows are ordered by problem, so the candidates of a problem are neighbours
            if self.shift.shape[1] != wanted.shape[1]:
                raise GraspPlannerError(
                    f"the event has {wanted.shape[1]} terms, but the multipliers are of {self.shift.shape[1]} terms: "
                    "if the event has changed, warm start from Plan.actions"
                )
            wanted = wanted + self.shift.repeat_interleave(len(wanted) // len(self.shift), dim=0)
        return torch.relu(wanted)

    def shifted(self, shift: Float[Tensor, "b k"]) -> Constrained:
        """Return the same objective with other shifts, and without the violation cost."""
        return replace(self, shift=shift, violation_cost=0.0)

    def violation(self, path: Path) -> Float[Tensor, " b"]:
        """Return max(0, -margin) for the exact margin of the event."""
        return torch.relu(-self.event.margin(*path))


def unconstrained(objective: Objective) -> Objective:
    """Return the objective inside of :class:`Constrained`, and any other objective unchanged."""
    return objective.objective if isinstance(objective, Constrained) else objective


def path_of(problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]) -> Path:
    """Return the trajectory s_0 .. s_T in the model's own units, for s_1 .. s_T in the units of ``problem``."""
    if problem.history is None:
        return Path(torch.cat([problem.start[:, None], states], dim=1), actions)
    return Path(torch.cat([problem.history[:, -1:], states * problem.unit[:, None]], dim=1), actions)


def penalty_residuals(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, "b k"] | None:
    """Return the residuals whose squares sum to the penalty; ``None`` if the problem has no constraints."""
    objective = problem.objective
    if not isinstance(objective, Constrained):
        return None
    return objective.weight**0.5 * objective.shortfall(path_of(problem, states, actions))


def penalised(
    problem: Problem, cost: Float[Tensor, " b"], states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, " b"]:
    """Add the penalty and the violation cost to the cost of the objective inside, if the problem has constraints."""
    objective = problem.objective
    if not isinstance(objective, Constrained):
        return cost
    path = path_of(problem, states, actions)
    cost = cost + objective.weight * objective.shortfall(path).square().sum(1)
    if objective.violation_cost == 0.0:
        return cost
    amount = objective.violation(Path(path.states.detach(), path.actions.detach()))
    return cost + objective.violation_cost * violated(amount).to(cost)


def term_count(problem: Problem) -> int:
    """Return k, the number of terms of the constraints of a problem; 0 if there are no constraints."""
    if not isinstance(problem.objective, Constrained):
        return 0
    standing = problem.start[:, None].expand(-1, problem.horizon, -1)
    actions = problem.start.new_zeros(problem.batch, problem.horizon, problem.action_size)
    return problem.objective.event.terms(path_of(problem, standing, actions), smoothing=0.0).shape[1]


def violation(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, " b"] | None:
    """Return max(0, -margin) of the event of a problem; ``None`` if the problem has no constraints.

    Args:
        problem: the problem.
        states: ``(b, t, s)``, s_1 .. s_T in the units of ``problem``.
        actions: ``(b, t, a)``.
    """
    objective = problem.objective
    return objective.violation(path_of(problem, states, actions)) if isinstance(objective, Constrained) else None


def violated(amount: Float[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Return for which problems a violation is above 0, or is not a number."""
    return ~(amount <= 0)
