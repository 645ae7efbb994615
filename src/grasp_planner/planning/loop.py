"""The loop that runs any planner. It owns iteration, clock, budget, scoring, status and trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grasp_planner.core.constraints import violation
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import is_solved
from grasp_planner.core.plans import Budget, Plan, Scored, Status, WarmStart, better, chosen, first_actions_of, score
from grasp_planner.core.problem import Problem
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.planning.first_scoring import score_first
from grasp_planner.planning.memory import within_memory
from grasp_planner.planning.meter import BudgetSpent, Meter
from grasp_planner.planning.protocol import Callback, Planner, Progress, asks_to_stop, is_planner, tolerance_of
from grasp_planner.planning.recorder import Recorder, final_status

_RUNNING = -1


def run(
    problem: Problem,
    planner: Planner,
    budget: Budget,
    *,
    seeds: int | Sequence[int] | Tensor | Noise | None = None,
    warm_start: WarmStart | Tensor | None = None,
    callback: Callback | None = None,
) -> Plan:
    """Run ``planner`` on ``problem`` until ``budget`` is spent, and return the best plan seen by true rollout.

    ``grasp_planner.plan`` is this function with a default planner and budget. Its docstring describes the arguments.
    """
    started = time.perf_counter()
    _check_arguments(problem, planner, budget)
    with planning_mode(problem.states.device, problem.dynamics, problem.objective):
        first_actions, state, age = first_actions_of(problem, planner, warm_start)
        streams = Noise.of(seeds, problem.batch, problem.states.device).steps(age)
        search = _Search(problem.detached(), planner, budget, started, callback)
        search.take(search.call(score_first, first_actions), first_actions)
        search.limit(keep_a_rollout=True)  # only now, so that there is always a plan to return
        try:
            search.record(state)
            if state is None and search.running():
                state = search.call(planner.init, first_actions, next(streams))
                age += 1
            while search.running() and search.room():
                state, scored = search.call(planner.step, state, next(streams))
                search.steps += 1
                search.take(scored, planner.actions(state))
                search.record(state)
        except BudgetSpent as limit:
            search.ended = limit.status
        except (KeyboardInterrupt, _StopAsked):
            search.ended = Status.INTERRUPTED
        if state is not None and search.ended is not Status.INTERRUPTED:
            search.score_last(planner.actions(state))
        found, bounds, unit = search.best.actions, (problem.low, problem.high), search.problem.unit
        return search.result(WarmStart(found, state, age + search.steps, planner, bounds, unit))


class _StopAsked(Exception):
    """Raised when the callback returned True."""


def _check_arguments(problem: object, planner: object, budget: object) -> None:
    if not isinstance(problem, Problem):
        raise GraspPlannerError(f"problem must be a Problem, got {type(problem).__name__}")
    if not is_planner(planner):
        raise GraspPlannerError(
            "planner must be an instance with methods init(problem, actions, noise), step(problem, state, noise) and "
            f"actions(state), one of PLANNERS with its settings, such as GD(), got {planner!r}"
        )
    if not isinstance(budget, Budget):
        raise GraspPlannerError(f"budget must be a Budget, such as Budget(steps=100), got {budget!r}")
    if budget.transitions is not None and budget.transitions < problem.horizon:
        raise GraspPlannerError(
            "Budget.transitions must be at least the horizon, so that the first plan can be scored: needed "
            f"{problem.horizon}, got {budget.transitions}"
        )


class _Search:
    """The progress of one run: the best plans, the status of each problem, the budget spent, and the trace."""

    def __init__(
        self, problem: Problem, planner: Planner, budget: Budget, started: float, callback: Callback | None
    ) -> None:
        self.meter = Meter(problem.dynamics)
        self.theirs = problem.through(self.meter)  # in the caller's own latent units
        self.problem = self.theirs.normalised()
        self.budget, self.started, self.callback = budget, started, callback
        self.tolerance = tolerance_of(planner)
        self.steps, self.cheapest_step = 0, 0
        self.ended = Status.BUDGET
        self.status = torch.full((problem.batch,), _RUNNING, device=problem.start.device)
        self.counted, self.active = self.status, problem.batch  # the number of running problems in the last status seen
        self.best: Scored = None  # type: ignore[assignment]  (set by the first take)
        self.known_actions: Tensor | None = None  # the actions that were rolled out last
        self.recorder = Recorder()

    def call(self, method: Any, *arguments: Any) -> Any:
        """Call a method with the problem as first argument. If memory does not suffice, evaluate in pieces."""
        return within_memory(self.meter, partial(method, self.problem.at(self.share()), *arguments))

    def transitions(self) -> int:
        """Return the model transitions so far, per problem."""
        return self.meter.rows // self.problem.batch

    def share(self) -> float:
        """Return the share of the budget that is spent."""
        seconds = 0.0 if self.budget.seconds is None else time.perf_counter() - self.started
        return self.budget.share(self.steps, seconds, self.transitions())

    def limit(self, keep_a_rollout: bool) -> None:
        """Refuse model calls beyond the budget, or beyond what leaves room to score the last actions."""
        horizon, budget = self.problem.horizon, self.budget
        if budget.transitions is not None:
            kept = horizon if keep_a_rollout else 0
            self.meter.most_rows = (budget.transitions - kept) * self.problem.batch
        if budget.seconds is not None:
            kept = horizon * self.meter.fastest if keep_a_rollout else 0.0
            self.meter.deadline = self.started + budget.seconds - (kept if kept < budget.seconds else 0.0)

    def take(self, offer: Scored | None, actions: Tensor) -> None:
        """Keep the better plans of the problems that still run; mark the faulty and the converged problems."""
        self.known_actions = None if offer is None else offer.actions
        if offer is None and actions.sum().isfinite():  # a tenth of the time of looking at every action
            return
        running = self.status == _RUNNING
        faulty = ~torch.isfinite(actions).flatten(1).all(1)
        if offer is not None:
            self.best = offer if self.best is None else chosen(running, better(self.best, offer), self.best)
            faulty |= ~torch.isfinite(offer.cost)
        converged = is_solved(self.problem.objective, self.best.cost, self.tolerance)
        self.status = torch.where(running & converged, int(Status.CONVERGED), self.status)
        self.status = torch.where(running & faulty, int(Status.NONFINITE), self.status)

    def running(self) -> bool:
        """Return whether any problem still runs. From now on, the model is evaluated for running problems only."""
        if self.counted is not self.status:
            before, self.active = self.active, int((self.status == _RUNNING).sum())
            self.counted = self.status
            if self.active < before:
                self.meter.answer_only(self.status == _RUNNING)
        return self.active > 0

    def room(self) -> bool:
        """Return whether the budget may allow another step, judged by the cheapest step so far.

        Raises:
            BudgetSpent: the deadline has passed.
        """
        self.meter.check_deadline()
        most, used = self.meter.most_rows, self.meter.rows
        fits = most is None or used + max(1, self.cheapest_step) <= most
        return fits and (self.budget.steps is None or self.steps < self.budget.steps)

    def score_last(self, actions: Tensor) -> None:
        """Score the actions of the last state if the budget allows it and the last step did not roll them out."""
        if not self.running() or actions is self.known_actions:
            return
        self.limit(keep_a_rollout=False)
        try:
            self.take(self.call(score, actions), actions)
        except BudgetSpent:
            pass
        except KeyboardInterrupt:
            self.ended = Status.INTERRUPTED

    def record(self, state: Any) -> None:
        """Add a row to the trace, and call the callback.

        Raises:
            _StopAsked: the callback returned True.
        """
        if self.steps:
            rows = self.meter.rows - self.recorder.transitions * self.problem.batch
            self.cheapest_step = rows if self.steps == 1 else min(self.cheapest_step, rows)
        seconds = time.perf_counter() - self.started
        self.recorder.add(self.steps, seconds, self.transitions(), self.best)
        if self.callback is not None:
            best = self.best._replace(states=self.best.states * self.problem.unit[:, None])
            now = self.theirs, self.steps, seconds, self.share(), state, best, self.known_actions is not None
            if asks_to_stop(self.callback(Progress(*now, self.status))):
                raise _StopAsked

    def result(self, warm_start: WarmStart) -> Plan:
        """Return the plan. Problems that were still running get the reason why planning ended as their status."""
        seconds, transitions = time.perf_counter() - self.started, self.transitions()
        amount = violation(self.problem, self.best.states, self.best.actions)
        return Plan(
            actions=self.best.actions,
            states=self.best.states * self.problem.unit[:, None],
            cost=self.best.cost,
            status=final_status(self.status, self.ended, amount),
            steps=self.steps,
            seconds=seconds,
            transitions=transitions,
            calls=self.meter.calls,
            trace=self.recorder.trace(self.steps, seconds, transitions, self.best),
            warm_start=warm_start,
            violation=amount,
        )
