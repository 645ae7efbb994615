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

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.frozen import frozen
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import (
    Budget,
    Plan,
    Scored,
    Snapshot,
    Status,
    Trace,
    WarmStart,
    better,
    chosen,
    first_actions_of,
    score,
)
from grasp_planner.core.problem import Problem
from grasp_planner.planning.memory import within_memory
from grasp_planner.planning.meter import BudgetSpent, Meter
from grasp_planner.trust.diagnosis import diagnose
from grasp_planner.trust.law import TrustLaw


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


@runtime_checkable
class Polishing(Protocol):
    """A planner whose best plan is improved once more when all steps are made, such as ``GRASP`` and ``LatCo``.

    The loop keeps a share of the budget for it: what it takes, but at most three tenths.
    """

    @property
    def rollouts_to_polish(self) -> int:
        """Model transitions of it, per problem, in units of the horizon; 0: there is none."""
        ...

    def polished(self, problem: Problem, best: Scored, noise: Noise) -> Scored | None:
        """The best rollout that it sees on the way on from the best plan so far."""
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
_FOR_POLISH = 0.3  # of the budget, at most
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
        first_actions, state, steps_before = first_actions_of(problem, planner, warm_start)
        streams = Noise.of(seeds, problem.batch, problem.states.device)
        meter, unmetered = Meter(problem.dynamics), problem.detached()
        problem = unmetered.through(meter)
        run = _Run(problem, planner, budget, meter, started)
        run.take(within_memory(meter, partial(score, problem, first_actions)), first_actions)
        # The limits come into force after the first scoring, so that there is always a plan to return.
        run.limit_to(run.before_polish())
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
        if ended is not Status.INTERRUPTED and isinstance(planner, Polishing) and planner.rollouts_to_polish > 0:
            ended = run.polish(planner, streams.fold(-1), ended)
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
        self.limits = budget  # those that are in force

    def before_polish(self) -> Budget:
        """The budget without what is kept for the polish."""
        seconds, transitions = self.budget.seconds, self.budget.transitions
        rollouts = self.planner.rollouts_to_polish if isinstance(self.planner, Polishing) else 0
        if rollouts and transitions is not None:
            transitions -= min(rollouts * self.problem.horizon, int(_FOR_POLISH * transitions))
        if rollouts and seconds is not None:
            seconds -= min(3.0 * rollouts * self.problem.horizon * self.first_call, _FOR_POLISH * seconds)
        return replace(self.budget, seconds=seconds, transitions=transitions)

    def limit_to(self, limits: Budget) -> None:
        """From here on no model call beyond these."""
        self.limits = limits
        self.meter.deadline = None if limits.seconds is None else self.started + limits.seconds
        self.meter.most_rows = None if limits.transitions is None else limits.transitions * self.problem.batch

    def polish(self, planner: Polishing, noise: Noise, ended: Status) -> Status:
        """With what was kept: go on from the best plans. Returns why planning ended."""
        self.limit_to(self.budget)
        try:
            if self.running():
                polish = partial(planner.polished, self.problem, self.best, noise)
                self.take(within_memory(self.meter, polish), self.best.actions)
        except BudgetSpent as spent:
            return Status.DEADLINE if spent.reason == "seconds" else ended
        except KeyboardInterrupt:
            return Status.INTERRUPTED
        return ended

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
        budget = self.limits
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
        if rollouts <= 1 or self.limits.seconds is None:
            return rollouts * rollout
        # A step that scored was a sync. Before the first one: back-propagation roughly triples a rollout.
        whole = self.scoring_step if self.scoring_step > 0 else 3.0 * rollouts * rollout
        # Where there is no time left for a whole one, a shorter one comes after fewer steps.
        return min(whole, _MOST_OF_IT * (self.limits.seconds - self.scored_at))

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
