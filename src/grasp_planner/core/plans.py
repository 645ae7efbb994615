"""Inputs and results of planning: budgets, statuses, plans, warm starts and scored actions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem


class Status(IntEnum):
    """Why planning stopped, per problem, and whether the plan violates a constraint.

    Example:
        >>> Status(0).name
        'CONVERGED'
    """

    CONVERGED = 0
    """The best cost is at or below the planner's ``tolerance``, or it is the least cost that the objective can have."""
    BUDGET = 1
    """The steps or transitions of the budget are spent."""
    DEADLINE = 2
    """The seconds of the budget are spent."""
    NONFINITE = 3
    """A cost, gradient or action became NaN or infinite. The plan is the best plan before that, finite and bounded."""
    INTERRUPTED = 4
    """Ctrl-C was pressed, or the callback returned True."""
    VIOLATED = 5
    """The plan violates the event of a ``Constrained`` objective. It replaces CONVERGED, BUDGET and DEADLINE."""


class Statuses(Tensor):
    """Values of :class:`Status`, ``(b,)`` int64, that print as names. Every operation returns a plain tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """Return the names, for example ``[CONVERGED, BUDGET]``."""
        values = self.as_subclass(Tensor).flatten().tolist()
        return f"[{', '.join(Status(value).name for value in values)}]"


@dataclass(frozen=True)
class Budget:
    """Limits on what a call of ``plan`` may spend. Planning ends at the first limit that is reached.

    Args:
        steps: planner steps.
        seconds: wall-clock time. No model call starts after the deadline, except those that score the first plan.
        transitions: one-step model evaluations *per problem* (rows divided by b), so the limit does not depend on how
            problems are batched. The limit is never exceeded. Scoring the first plan needs ``horizon`` transitions.

    Raises:
        GraspPlannerError: no limit was given, or a limit is negative or not a number.

    Example:
        >>> Budget(steps=100, seconds=2.0)
        Budget(steps=100, seconds=2.0, transitions=None)
    """

    steps: int | None = None
    seconds: float | None = None
    transitions: int | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None and self.transitions is None:
            raise GraspPlannerError("a Budget needs a limit: steps=, seconds= or transitions=")
        for name, kind in (("steps", int), ("seconds", (int, float)), ("transitions", int)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind) or not value >= 0):
                raise GraspPlannerError(f"Budget.{name} must be a number >= 0 (whole for steps), got {value!r}")

    def share(self, steps: int, seconds: float, transitions: int) -> float:
        """Return the share of the budget that is spent, from 0 to 1, for the limit that is closest to being reached.

        >>> Budget(steps=100, transitions=1000).share(steps=10, seconds=0.0, transitions=500)
        0.5
        """
        limits = ((self.steps, steps), (self.seconds, seconds), (self.transitions, transitions))
        return min(1.0, max(spent / limit if limit > 0 else 1.0 for limit, spent in limits if limit is not None))


class Scored(NamedTuple):
    """Actions that were rolled out in the model, with their rollout and its cost.

    Attributes:
        actions: ``(b, t, a)`` actions.
        states: ``(b, t, s)``, s_1 .. s_T of the rollout of the actions.
        cost: ``(b,)`` cost of the rollout.

    Example:
        >>> scored = Scored(torch.zeros(4, 10, 2), torch.zeros(4, 10, 3), torch.ones(4))
        >>> scored.cost
        tensor([1., 1., 1., 1.])
    """

    actions: Float[Tensor, "b t a"]
    states: Float[Tensor, "b t s"]
    cost: Float[Tensor, " b"]


class WarmStart(NamedTuple):
    """The point from which the next call of ``plan`` can start.

    With an unchanged warm start, planning continues where it stopped: the planner keeps its state, and the random
    streams continue. The planner and its settings must then be the same, and the problems must have the same horizon,
    bounds, scale and dtype. Otherwise, and after ``shifted``, only the actions carry over.

    Attributes:
        actions: ``(b, t, a)`` actions of the best plan.
        state: the planner's state; ``None``: there is no state to continue from.
        steps: planner steps so far, including the initialisation.
        planner: the planner of the state.
        bounds: the bounds ``(low, high)`` of the actions, ``(a,)`` each.
        unit: ``(b, s)`` the scale of every problem and coordinate.

    Example:
        >>> later = WarmStart(torch.tensor([[[1.0], [2.0], [3.0]]])).shifted(1)  # one model step was executed
        >>> later.actions.flatten()
        tensor([2., 3., 3.])
    """

    actions: Float[Tensor, "b t a"]
    state: Any = None
    steps: int = 0
    planner: Any = None
    bounds: tuple[Tensor, Tensor] | None = None
    unit: Tensor | None = None

    def continues(self, problem: Problem, planner: object) -> bool:
        """Return whether the planner's state, and not only the actions, carries over to ``problem``."""
        if self.state is None or self.bounds is None or self.unit is None or self.planner != planner:
            return False
        like, low, high = self.actions, *self.bounds
        return (
            like.shape[1] == problem.horizon
            and (like.dtype, like.device) == (problem.low.dtype, problem.low.device)
            and torch.equal(low, problem.low)
            and torch.equal(high, problem.high)
            and torch.equal(self.unit, problem.unit)
        )

    def shifted(self, steps: int) -> WarmStart:
        """Return the plan from model step ``steps`` on. The last action is repeated at the end.

        Raises:
            GraspPlannerError: ``steps`` is not a whole number >= 0.
        """
        horizon = self.actions.shape[1]
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise GraspPlannerError(f"a warm start is shifted by a whole number of steps >= 0, got {steps!r}")
        kept = self.actions[:, min(steps, horizon - 1) :]
        tail = self.actions[:, -1:].expand(-1, horizon - kept.shape[1], -1)
        return WarmStart(torch.cat([kept, tail], dim=1))


class Snapshot(NamedTuple):
    """The best plans at one moment of planning.

    Attributes:
        step: planner steps so far.
        seconds: wall-clock time so far.
        transitions: one-step model evaluations per problem so far.
        actions: ``(b, t, a)`` actions of the best plans.
        cost: ``(b,)`` costs of the best plans.

    Example:
        >>> early = Snapshot(5, 0.1, 50, actions=torch.zeros(1, 10, 2), cost=torch.ones(1))
        >>> early.step, early.transitions
        (5, 50)
    """

    step: int
    seconds: float
    transitions: int
    actions: Float[Tensor, "b t a"]
    cost: Float[Tensor, " b"]


@dataclass(frozen=True, eq=False)
class Trace:
    """The record of planning, with one row per step. Row 0 is the start.

    The scoring of the last actions is not a step, so a plan that it finds appears only in the last snapshot. In the
    first steps, a snapshot is taken at every improvement. Later snapshots are about 5 % of the steps so far apart. The
    last snapshot is taken at the end.

    Attributes:
        cost: ``(k, b)`` best cost of each problem after each of k - 1 steps.
        seconds: k numbers, the wall-clock time at each row.
        transitions: k numbers, the one-step model evaluations per problem at each row.
        snapshots: the best plans at some of the rows.

    Example:
        >>> from grasp_planner import GD, Budget, Markov, Problem, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.full((1, 2), 0.5), 10, low=-torch.ones(2), high=1)
        >>> trace = plan(problem, GD(), Budget(steps=5)).trace
        >>> trace.cost.shape, trace.snapshots[-1].step
        (torch.Size([6, 1]), 5)
    """

    cost: Float[Tensor, "k b"]
    seconds: tuple[float, ...]
    transitions: tuple[int, ...]
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """For each problem, the actions of least cost that planning rolled out in the model.

    Attributes:
        actions: ``(b, t, a)``, within the bounds.
        states: ``(b, t, s)``, s_1 .. s_T of their rollout.
        cost: ``(b,)``, the cost of that rollout; not finite only if no finite cost was ever seen.
        status: ``(b,)`` int64 values of :class:`Status`; prints as names.
        steps: planner steps taken.
        seconds: wall-clock time spent.
        transitions: one-step model evaluations per problem, for the problems that ran longest.
        calls: model calls, each on many rows.
        trace: best cost after each step, and snapshots of plans with their times.
        warm_start: the argument ``warm_start`` of the next call of ``plan``, unchanged or ``.shifted(k)``.
        violation: ``(b,)``, max(0, -margin) of the event of a ``Constrained`` objective along the rollout; ``None``
            without such an objective.

    Example:
        >>> from grasp_planner import GD, Budget, Markov, Problem, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.full((1, 2), 0.5), 10, low=-torch.ones(2), high=1)
        >>> found = plan(problem, GD(), Budget(steps=20))
        >>> found.actions.shape, found.states.shape, found.cost.shape, found.status
        (torch.Size([1, 10, 2]), torch.Size([1, 10, 2]), torch.Size([1]), [BUDGET])
        >>> found.steps, found.transitions  # 22 rollouts: of the first actions, of each step, and of the last actions
        (20, 220)
    """

    actions: Float[Tensor, "b t a"]
    states: Float[Tensor, "b t s"]
    cost: Float[Tensor, " b"]
    status: Int[Tensor, " b"]
    steps: int
    seconds: float
    transitions: int
    calls: int
    trace: Trace
    warm_start: WarmStart
    violation: Float[Tensor, " b"] | None = None


def first_actions_of(
    problem: Problem, planner: object, warm_start: WarmStart | Tensor | None
) -> tuple[Tensor, Any, int]:
    """Return the first actions (within bounds, of the problem's horizon), the planner's state and its number of steps.

    Raises:
        GraspPlannerError: the warm start has another shape or holds numbers that are not finite.
    """
    shape = (problem.batch, problem.horizon, problem.action_size)
    if warm_start is None:
        return problem.clamp(problem.start.new_zeros(shape)), None, 0
    if isinstance(warm_start, Tensor):
        warm_start = WarmStart(warm_start)
    if not isinstance(warm_start, WarmStart):
        raise GraspPlannerError(
            f"warm_start must be Plan.warm_start or a tensor of actions, got {type(warm_start).__name__}"
        )
    actions = warm_start.actions
    if not isinstance(actions, Tensor):
        raise GraspPlannerError(f"warm_start must hold a tensor of actions, got {type(actions).__name__}")
    if actions.ndim != 3 or actions.shape[0] != shape[0] or actions.shape[2] != shape[2] or 0 in actions.shape:
        raise GraspPlannerError(f"warm_start must hold actions {shape} (any length t), got {tuple(actions.shape)}")
    if not bool(torch.isfinite(actions).all()):
        raise GraspPlannerError("warm_start must hold finite actions, got NaN or infinity: drop it and start afresh")
    actions = actions.detach().to(problem.start)[:, : problem.horizon]
    tail = actions[:, -1:].expand(-1, problem.horizon - actions.shape[1], -1)
    actions = problem.clamp(torch.cat([actions, tail], dim=1)).clone()
    return (
        (actions, warm_start.state, warm_start.steps) if warm_start.continues(problem, planner) else (actions, None, 0)
    )


def score(problem: Problem, actions: Float[Tensor, "b t a"]) -> Scored:
    """Roll actions out and compute their cost, without a graph.

    Args:
        problem: the b problems.
        actions: ``(b, t, a)``, in the model's action units. They are used as they are, also outside of the bounds.

    Returns:
        The actions, their rollout ``(b, t, s)`` in the problem's latent units, and the cost ``(b,)``.

    Raises:
        GraspPlannerError: the model's answer has another shape or dtype.

    Example:
        >>> from grasp_planner import Markov, Problem
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.ones(1, 2), 10, low=-torch.ones(2), high=1)
        >>> score(problem, torch.ones(1, 10, 2)).states[0, 4]
        tensor([0.5000, 0.5000])
    """
    with torch.no_grad():
        states = problem.rollout(actions)
        return Scored(actions, states, problem.cost(states, actions))


def better(first: Scored, second: Scored) -> Scored:
    """Choose for each problem the plan of lower cost, or ``first`` at equal cost. A finite cost beats NaN."""
    finite = torch.isfinite(second.cost)
    mask = finite & (~torch.isfinite(first.cost) | (second.cost < first.cost))
    return chosen(mask, second, first)


def best_of(first: Scored | None, second: Scored | None) -> Scored | None:
    """Choose as :func:`better` does if both are given; otherwise return the argument that is not ``None``."""
    return second if first is None else first if second is None else better(first, second)


def chosen(mask: Bool[Tensor, " b"], where_true: Scored, where_false: Scored) -> Scored:
    """Take ``where_true`` for the problems in the mask, and ``where_false`` for the others."""
    rows = mask[:, None, None]
    return Scored(
        torch.where(rows, where_true.actions, where_false.actions),
        torch.where(rows, where_true.states, where_false.states),
        torch.where(mask, where_true.cost, where_false.cost),
    )
