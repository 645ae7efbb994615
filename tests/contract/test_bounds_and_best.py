"""Bounds always hold. The best plan is never worse than the start, the trace never rises, and costs are true."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import Row, every_row
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import Budget, GoalDistance, GraspPlannerError, Problem, plan

STEPS = Budget(steps=7)
INF = float("inf")

BOXES = {
    "tight": ((-1e-3, -1e-3), (1e-3, 1e-3)),
    "degenerate": ((0.2, -0.5), (0.2, -0.5)),
    "one degenerate coordinate": ((-1.0, 0.3), (1.0, 0.3)),
    "without zero": ((0.5, -2.0), (0.75, -1.5)),
    "lopsided": ((-0.1, 0.0), (5.0, 0.05)),
}
OPEN_BOXES = {
    "below only": ((-0.1, 0.2), (INF, INF)),
    "one coordinate open": ((-INF, -0.1), (INF, 0.1)),
    "open": ((-INF, -INF), (INF, INF)),
}


def boxed(low: tuple[float, ...], high: tuple[float, ...], **rest) -> Problem:
    whole = toys.problem(3, 4, **rest)
    return dataclasses.replace(whole, low=torch.tensor(low).to(whole.goal), high=torch.tensor(high).to(whole.goal))


def within(problem: Problem, actions: torch.Tensor) -> bool:
    return bool(((actions >= problem.low) & (actions <= problem.high) & torch.isfinite(actions)).all())


@every_row
@pytest.mark.parametrize(("box", "dtype"), [(box, torch.float32) for box in BOXES] + [("tight", torch.float64)])
def test_bounds_hold(row: Row, box, dtype):
    problem = boxed(*BOXES[box], dtype=dtype)
    offered = []

    def watch(progress):
        offered.append(progress.best.actions)
        if progress.state is not None:
            offered.append(row.planner.actions(progress.state))

    found = plan(problem, row.planner, STEPS, seeds=1, callback=watch)
    assert within(problem, found.actions)
    assert within(problem, found.warm_start.actions)
    for actions in offered + [snapshot.actions for snapshot in found.trace.snapshots]:
        assert within(problem, actions)


@every_row
@pytest.mark.parametrize("box", OPEN_BOXES)
def test_open_bounds_hold_or_are_refused(row: Row, box):
    problem = boxed(*OPEN_BOXES[box])
    if row.finite_bounds:
        with pytest.raises(GraspPlannerError, match="needs them finite"):
            plan(problem, row.planner, STEPS)
    else:
        assert within(problem, plan(problem, row.planner, STEPS, seeds=1).actions)


@every_row
def test_the_model_is_never_rolled_out_beyond_the_bounds(row: Row):
    """Models are not trained beyond the bounds, so all actions in model calls are within the bounds."""
    inner, seen = toys.Nonlinear(), []

    class Watching:
        context = 1

        def __call__(self, states, actions):
            seen.append(actions.detach().clone())
            return inner(states, actions)

    problem = boxed(*BOXES["without zero"], model=Watching())
    plan(problem, row.planner, STEPS, seeds=1)
    assert all(within(problem, actions) for actions in seen)


OBJECTIVES = {
    "goal": GoalDistance(),
    "weights, stages, effort": GoalDistance(weights=(1.0, 0.0, 2.5), stage_weight=0.3, effort=0.05),
}


@every_row
@pytest.mark.parametrize(("objective", "scaled"), [("goal", False), ("weights, stages, effort", True)])
def test_cost_and_states_are_those_of_an_independent_rollout(row: Row, objective, scaled):
    scale = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64) if scaled else None
    problem = toys.problem(3, 4, toys.Remembering(2), objective=OBJECTIVES[objective], scale=scale)
    found = plan(problem, row.planner, STEPS, seeds=2)
    torch.testing.assert_close(found.states, toys.rollout_by_hand(problem, found.actions), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions), rtol=1e-8, atol=1e-10)


@every_row
@settings(max_examples=5)
@given(seed=st.integers(-(2**63), 2**63 - 1), steps=st.integers(0, 9), wild=st.floats(0.0, 3.0))
def test_never_worse_than_the_start_and_never_rising(row: Row, seed, steps, wild):
    problem = toys.problem(3, 4)
    start = wild * toys.fixed(3, 4, 2, seed=abs(seed) % 1000)
    first = toys.cost_by_hand(problem, start.clamp(-1, 1))
    found = plan(problem, row.planner, Budget(steps=steps), seeds=seed, warm_start=start)
    assert found.steps == steps
    trace = found.trace.cost
    assert trace.shape == (steps + 1, 3)
    torch.testing.assert_close(trace[0], first)
    assert (trace.diff(dim=0) <= 0).all(), "the trace of best cost rose"
    assert (found.cost <= trace[-1]).all()
    assert (toys.cost_by_hand(problem, found.actions) <= first * (1 + 1e-12)).all()


@every_row
def test_from_the_best_known_plan_nothing_worse_comes_out(row: Row):
    """No planner can improve this start: nothing moves, and only immovable coordinates are away from the goal."""
    problem = toys.problem(2, 3)
    good = plan(problem, row.planner, Budget(steps=40), seeds=1)
    again = plan(problem, row.planner, Budget(steps=3), seeds=2, warm_start=good.actions)
    assert (again.cost <= good.cost * (1 + 1e-12)).all()


@every_row
def test_every_planner_makes_progress(row: Row):
    problem = toys.problem(6, 5)
    found = plan(problem, row.planner, Budget(steps=30), seeds=1)
    assert (found.cost < found.trace.cost[0]).float().mean() > 0.8
    assert (found.cost / found.trace.cost[0]).median() < 0.85


@every_row
def test_trace_and_snapshots_tell_one_story(row: Row):
    problem = toys.problem(3, 4)
    found = plan(problem, row.planner, STEPS, seeds=1)
    trace = found.trace
    assert len(trace.seconds) == len(trace.transitions) == trace.cost.shape[0] == 8
    assert list(trace.seconds) == sorted(trace.seconds) and trace.seconds[-1] <= found.seconds
    assert list(trace.transitions) == sorted(trace.transitions) and trace.transitions[-1] <= found.transitions
    assert trace.snapshots[0].step == 0 and [s.step for s in trace.snapshots] == sorted(s.step for s in trace.snapshots)
    assert torch.equal(trace.snapshots[-1].actions, found.actions)
    for snapshot in trace.snapshots:
        torch.testing.assert_close(snapshot.cost, toys.cost_by_hand(problem, snapshot.actions))
        seconds, transitions = trace.seconds[snapshot.step], trace.transitions[snapshot.step]
        if snapshot is not trace.snapshots[-1]:
            assert (snapshot.seconds, snapshot.transitions) == (seconds, transitions)
        else:  # the score of the last actions is not a step
            assert seconds <= snapshot.seconds <= found.seconds
            assert transitions <= snapshot.transitions <= found.transitions
