"""Deadline, transitions, interruption: the best plan so far is returned with its status, and no limit is exceeded."""

from __future__ import annotations

import functools
import itertools
import time

import numpy
import pytest
import torch
from contract_rows import Row, every_row, some_rows
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import Budget, Chunked, GraspPlannerError, LowPrecision, Status, plan
from grasp_planner.wrappers.projected import Projected
from grasp_planner.wrappers.straight_through import StraightThrough

BATCH, HORIZON = 2, 4


def counting(clock: Clock | None = None, seconds: float = 0.0, interrupt_at: int | None = None) -> toys.Counted:
    """Return a model that counts its calls. Every call can advance a clock, and one call can be interrupted."""

    def before(_: torch.Tensor) -> None:
        if model.calls == interrupt_at:
            raise KeyboardInterrupt
        if clock is not None:
            clock.now += seconds

    model = toys.Counted(before=before)
    return model


class Clock:
    """A clock that only model calls move."""

    def __init__(self) -> None:
        self.now = 100.0


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: fake.now)
    return fake


def best_so_far(found, problem):
    start = toys.cost_by_hand(problem, torch.zeros(BATCH, HORIZON, 2, dtype=torch.float64))
    assert (found.cost <= start * (1 + 1e-12)).all()
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))
    assert torch.isfinite(found.actions).all() and (found.actions.abs() <= 1).all()


@every_row
@pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
def test_no_model_call_is_started_after_the_deadline(row: Row, clock, seconds):
    model = counting(clock, seconds=0.01)
    problem = toys.problem(BATCH, HORIZON, model)
    found = plan(problem, row.planner, Budget(seconds=seconds), seeds=1)
    ended = clock.now
    assert (found.status == Status.DEADLINE).all()
    scoring_the_first_plan, one_call = 0.01 * HORIZON, 0.01
    assert ended - 100.0 <= max(seconds + one_call, scoring_the_first_plan) + 1e-9
    assert found.seconds == pytest.approx(ended - 100.0)
    best_so_far(found, problem)
    if seconds >= 1.0:  # the time was used, except for the duration of the longest step
        assert found.steps > 0 and ended - 100.0 >= 0.6 * seconds
        assert (found.cost < found.trace.cost[0]).any()


def timed(clock: Clock, starts: list[float], most_rows: float = float("inf"), dtype=torch.float64) -> toys.Counted:
    """Return a model whose calls advance a clock and store their start times. It has memory for ``most_rows`` rows."""

    def before(states: torch.Tensor) -> None:
        if states.shape[0] > most_rows:
            raise MemoryError
        starts.append(clock.now)
        clock.now += 0.01

    return toys.Counted(toys.Nonlinear().to(dtype), before=before)


PIECES = {
    "one row": lambda *at: Chunked(timed(*at), rows=1),
    "in low precision": lambda *at: LowPrecision(Chunked(timed(*at, dtype=torch.float32), rows=2)),
    "projected": lambda *at: StraightThrough(Projected(Chunked(timed(*at), rows=2), torch.tanh)),
    "memory": lambda *at: timed(*at, most_rows=3),
}


@every_row
@pytest.mark.parametrize("kind", PIECES)
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_no_piece_of_a_call_is_started_after_the_deadline(row: Row, clock, kind, seconds):
    """No piece is evaluated again for its gradient after the deadline, either."""
    dtype = torch.float32 if kind == "in low precision" else torch.float64
    starts: list[float] = []
    model = PIECES[kind](clock, starts)
    found = plan(toys.problem(BATCH, HORIZON, model, dtype=dtype), row.planner, Budget(seconds=seconds), seeds=1)
    assert (found.status == Status.DEADLINE).all()
    assert max(starts) < 100.0 + seconds and clock.now - 100.0 >= 0.5 * seconds


@every_row
def test_the_clock_touches_nothing_while_there_is_time(row: Row, clock):
    slow = plan(toys.problem(2, 4, counting(clock, seconds=0.01)), row.planner, Budget(steps=7, seconds=1e6), seeds=1)
    free = plan(toys.problem(2, 4, counting()), row.planner, Budget(steps=7), seeds=1)
    assert toys.same(slow, free)


@every_row
def test_a_deadline_on_a_real_clock(row: Row):
    class Slow:
        context = 1

        def __call__(self, states, actions):
            time.sleep(0.004)
            return inner(states, actions)

    inner = toys.Nonlinear()
    problem = toys.problem(BATCH, HORIZON, Slow())
    started = time.perf_counter()
    found = plan(problem, row.planner, Budget(seconds=0.6), seeds=1)
    elapsed = time.perf_counter() - started
    assert (found.status == Status.DEADLINE).all()
    assert found.steps > 0 and elapsed < 10.0, "0.6 s and one call, on a machine that may be very busy"
    best_so_far(found, problem)


@every_row
@settings(max_examples=6)
@given(transitions=st.integers(HORIZON, 200))
def test_transitions_are_never_overrun_by_an_independent_count(row: Row, transitions):
    model = counting()
    problem = toys.problem(BATCH, HORIZON, model)
    found = plan(problem, row.planner, Budget(transitions=transitions), seeds=1)
    rows, calls = sum(model.rows), model.calls
    assert rows <= transitions * BATCH
    assert found.transitions == rows // BATCH and found.calls == calls
    assert (found.status == Status.BUDGET).all()
    best_so_far(found, toys.problem(BATCH, HORIZON))
    # The rest of the budget does not suffice for one more step and for scoring the last actions.
    assert transitions - rows // BATCH < dearest_step(row) + 2 * HORIZON


@functools.cache
def dearest_step(row: Row) -> int:
    """Return the largest number of transitions of a step, per problem."""
    found = plan(toys.problem(BATCH, HORIZON), row.planner, Budget(steps=30), seeds=1)
    return max(after - before for before, after in itertools.pairwise(found.trace.transitions))


@some_rows
@pytest.mark.parametrize("transitions", [0, 1, HORIZON - 1])
def test_too_few_transitions_to_score_the_first_plan_is_an_error(row: Row, transitions):
    model = counting()
    with pytest.raises(GraspPlannerError, match=f"transitions.*at least the horizon.*{HORIZON}.*{transitions}"):
        plan(toys.problem(BATCH, HORIZON, model), row.planner, Budget(transitions=transitions))
    assert not model.rows


@every_row
def test_a_step_is_one_rollout_or_one_parallel_call_per_candidate(row: Row):
    """A step makes T calls with equal numbers of rows, or one call. The loop then scores at most one plan."""
    model, steps = toys.Counted(), []
    problem = toys.problem(BATCH, HORIZON, model)
    found = plan(problem, row.planner, Budget(steps=12), seeds=1, callback=lambda p: steps.append(model.calls))
    assert steps[0] == HORIZON, "the first plan is scored"
    for before, after in itertools.pairwise(steps):
        assert after - before in (1, HORIZON)
        assert len(set(model.rows[before:after])) == 1
    assert model.rows[steps[-1] :] in ([], [BATCH] * HORIZON), "the last actions are scored, unless they were"
    assert found.transitions == sum(model.rows) // BATCH
    assert [t * BATCH for t in found.trace.transitions] == [sum(model.rows[:calls]) for calls in steps]


@every_row
def test_the_share_of_the_budget_that_is_spent(row: Row, clock):
    """The share is that of the limit closest to being reached. Planners and callbacks get the same share."""
    problem = toys.problem(BATCH, HORIZON, counting(clock, seconds=0.01))
    for budget in (Budget(steps=8), Budget(transitions=600), Budget(seconds=2.0), Budget(steps=9, seconds=0.9)):
        told, seen = [], []
        plan(problem, Told(row.planner, told), budget, seeds=1, callback=lambda p, s=seen: s.append(p.spent))
        assert told == seen[: len(told)] and seen == sorted(seen) and 0 <= seen[0] < seen[-1] <= 1
        assert len(told) in (len(seen) - 1, len(seen)), "every step, and one that the budget refused"


class Told:
    """A planner that stores the shares of the budget that it gets."""

    def __init__(self, planner, told: list[float]) -> None:
        self.planner, self.told = planner, told

    def init(self, problem, actions, noise):
        return self.planner.init(problem, actions, noise)

    def step(self, problem, state, noise):
        self.told.append(problem.spent)
        return self.planner.step(problem, state, noise)

    def actions(self, state):
        return self.planner.actions(state)


@every_row
def test_each_limit_that_is_given_holds(row: Row, clock):
    model = counting(clock, seconds=0.01)
    problem = toys.problem(BATCH, HORIZON, model)
    assert plan(problem, row.planner, Budget(steps=2, seconds=100.0, transitions=10**6)).steps == 2
    found = plan(problem, row.planner, Budget(steps=10**6, seconds=100.0, transitions=300))
    assert found.transitions <= 300 and (found.status == Status.BUDGET).all()
    found = plan(problem, row.planner, Budget(steps=10**6, seconds=1.0, transitions=10**9))
    assert (found.status == Status.DEADLINE).all() and found.seconds <= 1.01 + 1e-9


@every_row
@pytest.mark.parametrize("call", [HORIZON, HORIZON + 6])
def test_ctrl_c_within_the_model_gives_the_best_plan_back(row: Row, call):
    problem = toys.problem(BATCH, HORIZON, counting(interrupt_at=call))
    found = plan(problem, row.planner, Budget(steps=50), seeds=1)
    assert (found.status == Status.INTERRUPTED).all()
    best_so_far(found, toys.problem(BATCH, HORIZON))
    assert found.trace.cost.shape[0] == found.steps + 1
    again = plan(toys.problem(BATCH, HORIZON), row.planner, Budget(steps=2), seeds=1, warm_start=found.warm_start)
    assert (again.cost <= found.cost * (1 + 1e-12)).all()


@every_row
def test_ctrl_c_before_there_is_a_plan_is_passed_on(row: Row):
    with pytest.raises(KeyboardInterrupt):
        plan(toys.problem(BATCH, HORIZON, counting(interrupt_at=1)), row.planner, Budget(steps=50))


@some_rows
@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("how", ["ctrl-c", "true"])
def test_the_callback_may_stop_a_plan(row: Row, at, how):
    def callback(progress):
        if progress.step == at:
            if how == "ctrl-c":
                raise KeyboardInterrupt
            return True
        return None

    problem = toys.problem(BATCH, HORIZON)
    found = plan(problem, row.planner, Budget(steps=50), seeds=1, callback=callback)
    assert (found.status == Status.INTERRUPTED).all() and found.steps == at
    best_so_far(found, problem)


@every_row
def test_only_what_still_ran_is_marked_interrupted(row: Row):
    problem = toys.problem(BATCH, HORIZON)
    problem.states[0] = FAR
    bad = problem.through(NanFarAway())
    found = plan(bad, row.planner, Budget(steps=50), seeds=1, callback=lambda progress: progress.step == 1)
    assert found.status.tolist() == [Status.NONFINITE, Status.INTERRUPTED]


FAR = 1e6


class NanFarAway:
    context = 1

    def __call__(self, states, actions):
        return torch.where(states[:, -1, :1].abs() < FAR / 2, toys.Nonlinear()(states, actions), torch.nan)


@some_rows
def test_the_truth_of_numpy_and_of_torch_stops_planning(row: Row):
    for answer in (True, numpy.True_, numpy.array(True), torch.tensor(True), torch.tensor([True])):
        found = plan(toys.problem(1, 2), row.planner, Budget(steps=2), callback=lambda p, a=answer: a)
        assert found.steps == 0 and found.status.tolist() == [Status.INTERRUPTED]
    for answer in (numpy.False_, torch.tensor(False), torch.tensor(1.0), torch.tensor([True, True]), numpy.ones(1)):
        found = plan(toys.problem(1, 2), row.planner, Budget(steps=2), callback=lambda p, a=answer: a)
        assert found.steps == 2


@some_rows
def test_any_other_answer_of_the_callback_is_not_a_stop(row: Row):
    for answer in (None, False, 0, 1, "yes"):
        found = plan(toys.problem(1, 2), row.planner, Budget(steps=2), callback=lambda p, a=answer: a)
        assert found.steps == 2


@every_row
def test_the_callback_sees_every_step(row: Row):
    seen = []
    problem = toys.problem(BATCH, HORIZON)
    found = plan(problem, row.planner, Budget(steps=5), seeds=1, callback=lambda progress: seen.append(progress))
    assert [progress.step for progress in seen] == [0, 1, 2, 3, 4, 5]
    assert seen[0].state is None and all(progress.state is not None for progress in seen[1:])
    for progress, cost in zip(seen, found.trace.cost):
        assert torch.equal(progress.best.cost, cost)
    assert [progress.seconds for progress in seen] == list(found.trace.seconds)


@some_rows
def test_an_exception_of_the_callback_passes_through(row: Row):
    def callback(progress):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        plan(toys.problem(BATCH, HORIZON), row.planner, Budget(steps=5), callback=callback)
