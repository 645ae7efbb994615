"""What goes into planning and what comes out: Budget, Status, Plan, and plans that were scored."""

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
    """Why planning stopped, per problem."""

    CONVERGED = 0
    """The best cost is at or below the planner's own ``tolerance``."""
    BUDGET = 1
    """The steps or transitions of the budget are spent."""
    DEADLINE = 2
    """The seconds of the budget are spent."""
    NONFINITE = 3
    """A cost, gradient or action became NaN or infinite; the plan is the best one seen before, finite and bounded."""
    INTERRUPTED = 4
    """Ctrl-C, or the callback asked to stop."""


@dataclass(frozen=True)
class Budget:
    """What a call of ``plan`` may spend; each limit that is given holds, and the first one reached ends it.

    Args:
        steps: planner steps.
        seconds: wall-clock. No model call is started after it, except those that score the first plan.
        transitions: one-step model evaluations *per problem* (rows divided by b), so that the limit means the same
            however problems are batched. The limit is never overrun; scoring the first plan needs ``horizon`` of them.

    Raises:
        GraspPlannerError: no limit was given, or one is negative or not a number.

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


class Scored(NamedTuple):
    """Actions that were rolled out: the rollout and its cost."""

    actions: Float[Tensor, "b t a"]
    states: Float[Tensor, "b t s"]
    cost: Float[Tensor, " b"]


class WarmStart(NamedTuple):
    """What the next call of ``plan`` can start from.

    As it is, planning goes on where it stopped: same planner state, and noise that continues. That needs the same
    planner with the same settings, horizon, precision and bounds; otherwise, and after ``shifted`` (for a problem that
    begins some steps later), only the actions carry over.
    """

    actions: Float[Tensor, "b t a"]
    state: Any = None
    steps: int = 0
    planner: Any = None
    bounds: tuple[Tensor, Tensor] | None = None

    def continues(self, problem: Problem, planner: object) -> bool:
        """Whether the planner's state, and not the actions alone, can be gone on from."""
        if self.state is None or self.bounds is None or self.planner != planner:
            return False
        like, low, high = self.actions, *self.bounds
        return (
            like.shape[1] == problem.horizon
            and (like.dtype, like.device) == (problem.low.dtype, problem.low.device)
            and torch.equal(low, problem.low)
            and torch.equal(high, problem.high)
        )

    def shifted(self, steps: int) -> WarmStart:
        """The plan from model step ``steps`` on; its last action is repeated at the end."""
        horizon = self.actions.shape[1]
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise GraspPlannerError(f"a warm start is shifted by a whole number of steps >= 0, got {steps!r}")
        kept = self.actions[:, min(steps, horizon - 1) :]
        tail = self.actions[:, -1:].expand(-1, horizon - kept.shape[1], -1)
        return WarmStart(torch.cat([kept, tail], dim=1))


class Snapshot(NamedTuple):
    """The best plans at one moment of planning."""

    step: int
    seconds: float
    transitions: int
    actions: Float[Tensor, "b t a"]
    cost: Float[Tensor, " b"]


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened while planning, one row a step; row 0 is the start.

    Finishing is no step: a plan that was found only then is in the last snapshot.

    ``snapshots`` are taken at every improvement in the first steps and then ever more rarely, each about 5% of
    the steps so far after the one before, plus the last.
    """

    cost: Float[Tensor, "k b"]
    seconds: tuple[float, ...]
    transitions: tuple[int, ...]
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What there is to know about a plan without carrying it out. All in units of the problem's scale.

    Attributes:
        gap: (b, t-1) root mean square distance of the virtual states s_1 .. s_{T-1} from the rollout of the actions
            beside them, when planning ended; ``None`` for planners without virtual states.
        gain: (b, t) how much a small difference in the state grows in each step of the plan, root mean square over
            directions. Where it is large the model is steep: a place that an optimiser can exploit.
        exploited: (b,) share of the steps whose gain is above ``steep``.
        disagreement: (b, t) of an ensemble along the plan; ``None`` where the model is none.
        error: (b, t) how far the plan's states may be off, by the law of trust.
        trust: (b,) steps up to which the plan can be believed.
    """

    gap: Float[Tensor, "b t_less_1"] | None
    gain: Float[Tensor, "b t"]
    exploited: Float[Tensor, " b"]
    disagreement: Float[Tensor, "b t"] | None
    error: Float[Tensor, "b t"]
    trust: Int[Tensor, " b"]


@dataclass(frozen=True, eq=False)
class Plan:
    """The best plan that was seen by true rollout, for each problem.

    Attributes:
        actions: ``(b, t, a)``, within the bounds.
        states: ``(b, t, s)``, s_1 .. s_T of their rollout.
        cost: ``(b,)``, the cost of that rollout; not finite only where no finite one was ever seen.
        status: ``(b,)`` int64 values of :class:`Status`.
        steps: planner steps taken.
        seconds: wall-clock spent.
        transitions: model transitions per problem, of those that ran longest: one that is solved costs no more.
        calls: model calls, each on many rows.
        trace: best cost per step, and plans with their times.
        warm_start: pass to the next call of ``plan``, as it is or ``.shifted(k)``.
        diagnosis: what the plan rests on and how far to believe it, where ``plan`` was given a law of trust.
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
    diagnosis: Diagnosis | None = None


def first_actions_of(
    problem: Problem, planner: object, warm_start: WarmStart | Tensor | None
) -> tuple[Tensor, Any, int]:
    """Actions to begin with, within bounds and of the problem's length; a planner state and its age, if given.

    Raises:
        GraspPlannerError: what is given has another shape or holds numbers that are not finite.
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
    """Roll actions out and cost them, without a graph."""
    with torch.no_grad():
        states = problem.rollout(actions)
        return Scored(actions, states, problem.cost(states, actions))


def better(first: Scored, second: Scored) -> Scored:
    """Per problem the one of lower cost, the first where they are equal; a finite cost beats one that is not."""
    finite = torch.isfinite(second.cost)
    mask = finite & (~torch.isfinite(first.cost) | (second.cost < first.cost))
    return chosen(mask, second, first)


def chosen(mask: Bool[Tensor, " b"], where_true: Scored, where_false: Scored) -> Scored:
    """Per problem one of two, by a mask."""
    rows = mask[:, None, None]
    return Scored(
        torch.where(rows, where_true.actions, where_false.actions),
        torch.where(rows, where_true.states, where_false.states),
        torch.where(mask, where_true.cost, where_false.cost),
    )
