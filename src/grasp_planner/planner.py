"""The one loop: iteration, clock, budget, scoring, status and trace. Planners have none of these."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from grasp_planner.diagnosis import diagnose
from grasp_planner.errors import GraspPlannerError
from grasp_planner.evaluation import BudgetSpent, Meter, frozen
from grasp_planner.memory import within_memory
from grasp_planner.noise import Noise
from grasp_planner.plans import (
    Budget,
    Plan,
    Scored,
    Snapshot,
    Status,
    Trace,
    WarmStart,
    better,
    chosen,
    score,
)
from grasp_planner.problem import Problem
from grasp_planner.trust import TrustLaw


@runtime_checkable
class PlannerState(Protocol):
    """A ``NamedTuple`` of tensors without a graph. ``scored``: what this step rolled out, if it did."""

    @property
    def scored(self) -> Scored | None: ...  # noqa: D102


@runtime_checkable
class Planner(Protocol):
    """Hyperparameters (a frozen dataclass) and four methods; ``plan`` does the rest.

    ``noise`` is a stream of its own for each call. ``init`` gets actions within the bounds. ``step`` and ``finish``
    return a new state and never write to the old one.
    """

    @property
    def tolerance(self) -> float:
        """A problem whose best cost is at or below this is CONVERGED; with 0, one whose best cost is exactly 0."""
        ...

    @property
    def rollouts_per_step(self) -> int:
        """Model transitions of one step, per problem, in units of the horizon."""
        ...

    @property
    def rollouts_to_finish(self) -> int:
        """The same for ``finish``."""
        ...

    @property
    def serial_rollouts_to_finish(self) -> int:
        """Of those, how many one after the other: what ``finish`` costs in time rather than in transitions."""
        ...

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> Any:
        """The state to start from, given actions ``(b, t, a)`` to begin with."""
        ...

    def step(self, problem: Problem, state: Any, noise: Noise) -> Any:
        """One iteration."""
        ...

    def finish(self, problem: Problem, state: Any, noise: Noise) -> Any:
        """Make the last iterate count: score what was not scored, or sync."""
        ...

    def actions(self, state: Any) -> Tensor:
        """The current plan ``(b, t, a)``."""
        ...


class Progress(NamedTuple):
    """What a callback gets after the start and after every step. Tensors are the loop's own: do not write to them."""

    problem: Problem
    step: int
    seconds: float
    state: Any
    best: Scored
    status: Int[Tensor, " b"]


Callback = Callable[[Progress], bool | None]
"""Called after every step; returning True ends planning with status INTERRUPTED."""

_RUNNING = -1
_MOST_OF_IT = 0.8  # of the time or transitions that are left, for a sync that must be short


def plan(
    problem: Problem,
    planner: Planner,
    budget: Budget,
    *,
    seeds: int | Sequence[int] | Tensor | None = None,
    warm_start: WarmStart | Tensor | None = None,
    callback: Callback | None = None,
    trust: TrustLaw | None = None,
) -> Plan:
    """Plan: run ``planner`` on ``problem`` until ``budget`` is spent, and return the best plan seen by true rollout.

    The plan is never worse than the one it was started from, problems of a batch do not influence each other, and
    the model is left as it was. The clock touches the result only if ``budget.seconds`` is given.

    Args:
        problem: a batch of b problems.
        planner: one of ``PLANNERS``, or anything with the methods of :class:`Planner`.
        budget: steps, seconds, transitions: whichever is reached first.
        seeds: one integer for all problems, or one a problem; ``None`` is 0 for all. Same seed, same plan.
        warm_start: ``Plan.warm_start`` of an earlier call, or actions ``(b, t, a)``; ``None`` starts at zero actions.
            Actions beyond the horizon are dropped, a missing tail repeats the last one, all are clamped to the bounds.
        callback: called with a :class:`Progress` after the start and after every step.
        trust: where given, the plan is diagnosed by it when it is made (``Plan.diagnosis``), outside the budget.

    Raises:
        GraspPlannerError: arguments do not fit the problem; or memory does not suffice even for one row of the model
            at a time (where it does, calls are cut into pieces, and the plan is the same). Whatever else the model
            raises passes through.

    Example:
        >>> import torch
        >>> from grasp_planner import GD, Budget, Markov, Problem, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> start, goal, bound = torch.zeros(1, 2), torch.full((1, 2), 0.5), torch.ones(2)
        >>> problem = Problem.between(step, start, goal, horizon=10, low=-bound, high=bound)
        >>> found = plan(problem, GD(), Budget(steps=200))
        >>> bool(found.cost < 1e-4)
        True
    """
    started = time.perf_counter()
    _check_arguments(problem, planner, budget)
    # Inference mode is left before any tensor is made: autograd would refuse those made in it.
    with torch.inference_mode(False), torch.no_grad(), frozen(problem.dynamics, problem.objective):
        first_actions, state, steps_before = _first(problem, planner, warm_start)
        streams = Noise.of(seeds, problem.batch, problem.states.device)
        meter, unmetered = Meter(problem.dynamics), problem.detached()
        problem = unmetered.through(meter)
        run = _Run(problem, planner, budget, meter, started)
        run.take(within_memory(meter, partial(score, problem, first_actions)), first_actions)
        # The limits come into force after the first scoring, so that there is always a plan to return.
        meter.deadline = None if budget.seconds is None else started + budget.seconds
        meter.most_rows = None if budget.transitions is None else budget.transitions * problem.batch
        ended = Status.BUDGET
        try:
            run.record(state, callback)
            if state is None and run.running():
                noise = streams.fold(steps_before)
                state = within_memory(meter, partial(planner.init, problem, first_actions, noise))
                steps_before += 1
            while run.running():
                limit = run.limit_reached()
                if limit is not None:
                    # Before the last call: the best may change, `state` stays what a later call continues from.
                    ended = limit
                    noise = streams.fold(-2 - steps_before - run.steps)
                    done = within_memory(meter, partial(planner.finish, problem, state, noise))
                    run.take(done.scored, planner.actions(done))
                    break
                noise = streams.fold(steps_before + run.steps)
                state = within_memory(meter, partial(planner.step, problem, state, noise))
                run.steps += 1
                run.take(state.scored, planner.actions(state))
                run.record(state, callback)
        except BudgetSpent as spent:
            ended = Status.DEADLINE if spent.reason == "seconds" else Status.BUDGET
        except (KeyboardInterrupt, _StopAsked):
            ended = Status.INTERRUPTED
        bounds = (problem.low, problem.high)
        found = run.result(ended, WarmStart(run.best.actions, state, steps_before + run.steps, planner, bounds))
        return found if trust is None else replace(found, diagnosis=diagnose(unmetered, found, trust))


class _StopAsked(Exception):
    """The callback returned True."""


def is_planner(thing: object) -> bool:
    """Whether this is a planner: an instance with its settings, not the class."""
    return isinstance(thing, Planner) and not isinstance(thing, type)


def _check_arguments(problem: object, planner: object, budget: object) -> None:
    if not isinstance(problem, Problem):
        raise GraspPlannerError(f"problem must be a Problem, got {type(problem).__name__}")
    if not is_planner(planner):
        raise GraspPlannerError(f"planner must be one of PLANNERS with its settings, such as GD(), got {planner!r}")
    if not isinstance(budget, Budget):
        raise GraspPlannerError(f"budget must be a Budget, such as Budget(steps=100), got {budget!r}")
    if budget.transitions is not None and budget.transitions < problem.horizon:
        raise GraspPlannerError(
            "Budget.transitions must be at least the horizon, so that the first plan can be scored: needed "
            f"{problem.horizon}, got {budget.transitions}"
        )


def _first(problem: Problem, planner: Planner, warm_start: WarmStart | Tensor | None) -> tuple[Tensor, Any, int]:
    """Actions to begin with, within bounds and of the problem's length; a planner state and its age, if given."""
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


class _Run:
    """What the loop knows so far: the best plans, each problem's status, the trace."""

    def __init__(self, problem: Problem, planner: Planner, budget: Budget, meter: Meter, started: float) -> None:
        self.problem, self.planner, self.budget = problem, planner, budget
        self.meter, self.started = meter, started
        self.steps = 0
        self.asking = problem.batch
        self.status = torch.full((problem.batch,), _RUNNING, device=problem.start.device)
        self.best: Scored = None  # type: ignore[assignment]  (set by the first take)
        self.costs: list[Tensor] = []
        self.times: list[float] = []
        self.spent: list[int] = []
        self.snapshots: list[Snapshot] = []
        self.first_call = 0.0  # seconds of a model call on b rows
        self.scoring_step = 0.0  # seconds of the last step that rolled plans out
        self.scored_at = 0.0  # when it ended
        self.scored_when_spent = 0  # transitions by then

    def take(self, offer: Scored | None, actions: Tensor) -> None:
        """Keep what is better, of the problems that still run; mark the faulty and the converged."""
        running = self.status == _RUNNING
        faulty = ~torch.isfinite(actions).flatten(1).all(1)
        if offer is not None:
            if self.best is None:
                self.best = offer
                self.first_call = self.meter.fastest
            else:
                self.best = chosen(running, better(self.best, offer), self.best)
            faulty |= ~torch.isfinite(offer.cost)
        tolerance = self.planner.tolerance
        # Without a tolerance only the perfect plan is enough: a cost may be negative where an objective rewards.
        converged = self.best.cost <= tolerance if tolerance > 0 else self.best.cost == 0
        self.status[running & converged] = int(Status.CONVERGED)
        self.status[running & faulty] = int(Status.NONFINITE)

    def running(self) -> bool:
        """Whether any problem still wants steps; the model is not asked about the others again."""
        running = self.status == _RUNNING
        count = int(running.sum())
        if count < self.asking:
            self.asking = count
            self.meter.answer_only(running)
        return count > 0

    def limit_reached(self) -> Status | None:
        """The limit that leaves no room for another step and finishing after it; ``None``: step on."""
        budget = self.budget
        if budget.steps is not None and self.steps >= budget.steps:
            return Status.BUDGET
        if budget.transitions is not None:
            step = self.planner.rollouts_per_step * self.problem.horizon
            if self.spent_now() + step + self.transitions_to_finish(step, budget.transitions) > budget.transitions:
                return Status.BUDGET
        if budget.seconds is not None:
            finishing = self.seconds_to_finish()
            # Where finishing alone would not fit, step on regardless.
            reserve = finishing if finishing < budget.seconds else 0.0
            if time.perf_counter() - self.started + reserve >= budget.seconds:
                return Status.DEADLINE
        return None

    def spent_now(self) -> int:
        """Model transitions so far, per problem."""
        return self.meter.rows // self.problem.batch

    def transitions_to_finish(self, step: int, limit: int) -> float:
        """What is kept for ``finish``: all it takes, or most of what is left where that and a step do not fit."""
        whole, left = self.planner.rollouts_to_finish * self.problem.horizon, limit - self.scored_when_spent
        if self.planner.serial_rollouts_to_finish <= 1 or step + whole <= left:
            return whole
        return _MOST_OF_IT * left

    def seconds_to_finish(self) -> float:
        """What ``finish`` will take, from what calls of the model and steps that scored have taken."""
        rollouts = self.planner.serial_rollouts_to_finish
        rollout = self.problem.horizon * self.first_call
        if rollouts <= 1 or self.budget.seconds is None:
            return rollouts * rollout
        # A step that scored was a sync. Before the first one: back-propagation roughly triples a rollout.
        whole = self.scoring_step if self.scoring_step > 0 else 3.0 * rollouts * rollout
        # Where there is no time left for a whole one, a shorter one comes after fewer steps.
        return min(whole, _MOST_OF_IT * (self.budget.seconds - self.scored_at))

    def record(self, state: Any, callback: Callback | None) -> None:
        """Write the trace, and let the callback see it.

        Raises:
            _StopAsked: the callback asked to stop.
        """
        self.costs.append(self.best.cost)
        self.times.append(time.perf_counter() - self.started)
        self.spent.append(self.spent_now())
        if len(self.times) > 1 and state.scored is not None:
            self.scoring_step, self.scored_at = self.times[-1] - self.times[-2], self.times[-1]
            self.scored_when_spent = self.spent[-1]
        last = self.snapshots[-1] if self.snapshots else None
        if last is None or (self.steps >= last.step * 1.05 and self.best.actions is not last.actions):
            self.snapshot()
        if callback is not None:
            progress = Progress(self.problem, self.steps, self.times[-1], state, self.best, self.status)
            if callback(progress) is True:
                raise _StopAsked

    def snapshot(self) -> None:
        """Remember the best plans as they are now."""
        seconds, spent = time.perf_counter() - self.started, self.spent_now()
        self.snapshots.append(Snapshot(self.steps, seconds, spent, self.best.actions, self.best.cost))

    def result(self, ended: Status, warm_start: WarmStart) -> Plan:
        """The plan, with the reason for stopping filled in where a problem had none of its own."""
        if self.best.actions is not self.snapshots[-1].actions:
            self.snapshot()
        status = torch.where(self.status == _RUNNING, int(ended), self.status)
        trace = Trace(torch.stack(self.costs), tuple(self.times), tuple(self.spent), tuple(self.snapshots))
        return Plan(
            *self.best,
            status=status,
            steps=self.steps,
            seconds=time.perf_counter() - self.started,
            transitions=self.spent_now(),
            calls=self.meter.calls,
            trace=trace,
            warm_start=warm_start,
        )
