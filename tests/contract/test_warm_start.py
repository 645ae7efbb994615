"""Warm starts: longer, shorter, shifted and continued warm starts, and warm starts that no longer fit."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import ROWS, Row, every_row, some_rows

import toys
from grasp_planner import Budget, GraspPlannerError, Status, WarmStart, plan


def iterates(problem, planner, budget, **rest):
    """Return the plan and the planner's own actions after every step."""
    seen = []

    def watch(progress):
        if progress.step > 0:
            seen.append(planner.actions(progress.state))

    return plan(problem, planner, budget, callback=watch, **rest), seen


@every_row
@pytest.mark.parametrize("context", [1, 3])
def test_ten_and_ten_steps_are_twenty(row: Row, context):
    """If a step depends on the spent share of the budget, the second plan is only never worse than the first plan."""
    problem = toys.problem(3, 4, toys.Nonlinear() if context == 1 else toys.Remembering(context))
    straight, expected = iterates(problem, row.planner, Budget(steps=20), seeds=[1, 2, 3])
    first, seen = iterates(problem, row.planner, Budget(steps=10), seeds=[1, 2, 3])
    second, more = iterates(problem, row.planner, Budget(steps=10), seeds=[1, 2, 3], warm_start=first.warm_start)
    assert len(expected) == len(seen + more) == 20
    assert second.warm_start.steps == straight.warm_start.steps
    assert (second.cost <= first.cost * (1 + 1e-12)).all()
    if row.reads_the_budget:
        return
    for ours, theirs in zip(seen + more, expected):
        assert torch.equal(ours, theirs)
    assert (second.cost <= straight.cost * (1 + 1e-12)).all()


@every_row
def test_many_short_calls_are_one_long_one(row: Row):
    problem = toys.problem(2, 3)
    _, expected = iterates(problem, row.planner, Budget(steps=6), seeds=7)
    warm, seen = None, []
    for steps in (0, 1, 3, 0, 2):
        found, some = iterates(problem, row.planner, Budget(steps=steps), seeds=7, warm_start=warm)
        warm, seen = found.warm_start, seen + some
    assert len(seen) == 6
    assert row.reads_the_budget or all(torch.equal(ours, theirs) for ours, theirs in zip(seen, expected))


@some_rows
@pytest.mark.parametrize("length", [1, 3, 8])
@pytest.mark.parametrize("as_tensor", [True, False], ids=["tensor", "WarmStart"])
def test_longer_and_shorter(row: Row, length, as_tensor):
    problem = toys.problem(2, 5)
    given = 3.0 * toys.fixed(2, length, 2, seed=8)
    expected = given[:, [min(t, length - 1) for t in range(5)]].clamp(-1, 1)
    starts = []
    plan(
        problem,
        row.planner,
        Budget(steps=1),
        warm_start=given if as_tensor else WarmStart(given),
        callback=lambda progress: starts.append(progress.best.actions),
    )
    assert torch.equal(starts[0], expected)


@every_row
@pytest.mark.parametrize(("old", "new"), [(5, 8), (4, 1)])
def test_a_plan_for_another_horizon(row: Row, old, new):
    before = plan(toys.problem(2, old), row.planner, Budget(steps=4), seeds=1)
    after = plan(toys.problem(2, new), row.planner, Budget(steps=4), seeds=1, warm_start=before.warm_start)
    assert after.actions.shape == (2, new, 2)
    start = before.actions[:, [min(t, old - 1) for t in range(new)]]
    first = toys.cost_by_hand(toys.problem(2, new), start)
    torch.testing.assert_close(after.trace.cost[0], first)
    assert (after.cost <= first * (1 + 1e-12)).all()


@pytest.mark.parametrize("shift", [0, 1, 3, 4, 5, 99])
def test_shifted(shift):
    actions = toys.fixed(2, 5, 2, seed=9)
    moved = WarmStart(actions, "anything", 7).shifted(shift)
    assert torch.equal(moved.actions, actions[:, [min(t + shift, 4) for t in range(5)]])
    assert moved.state is None and moved.steps == 0
    with pytest.raises(GraspPlannerError, match="shifted"):
        WarmStart(actions).shifted(-1)
    with pytest.raises(GraspPlannerError, match="shifted"):
        WarmStart(actions).shifted(1.5)


@every_row
def test_a_shifted_plan_starts_the_next_problem(row: Row):
    problem = toys.problem(2, 5)
    before = plan(problem, row.planner, Budget(steps=6), seeds=1)
    later = dataclasses.replace(problem, states=before.states[:, 1:2])
    after = plan(later, row.planner, Budget(steps=3), seeds=2, warm_start=before.warm_start.shifted(2))
    expected = before.actions[:, [2, 3, 4, 4, 4]]
    torch.testing.assert_close(after.trace.cost[0], toys.cost_by_hand(later, expected))
    assert (after.cost <= after.trace.cost[0]).all()


@some_rows
@pytest.mark.parametrize(
    ("warm_start", "message"),
    [
        (torch.full((2, 4, 2), float("nan")), "finite.*drop it"),
        (torch.full((2, 4, 2), float("inf")), "finite.*drop it"),
        (torch.zeros(3, 4, 2), r"\(2, 4, 2\).*\(3, 4, 2\)"),
        (torch.zeros(2, 4, 3), r"\(2, 4, 2\).*\(2, 4, 3\)"),
        (torch.zeros(4, 2), r"\(2, 4, 2\).*\(4, 2\)"),
        (torch.zeros(2, 0, 2), r"\(2, 4, 2\).*\(2, 0, 2\)"),
        ([[0.0]], "warm_start must be.*got list"),
        (WarmStart([[0.0]]), "warm_start.*tensor.*got list"),
    ],
    ids=["nan", "inf", "batch", "action", "axes", "empty", "list", "list inside"],
)
def test_what_does_not_fit_is_refused(row: Row, warm_start, message):
    with pytest.raises(GraspPlannerError, match=message):
        plan(toys.problem(2, 4), row.planner, Budget(steps=1), warm_start=warm_start)


@every_row
def test_a_warm_start_of_another_precision_is_converted(row: Row):
    found = plan(toys.problem(2, 4), row.planner, Budget(steps=3), seeds=1, warm_start=torch.zeros(2, 4, 2))
    assert found.actions.dtype == torch.float64
    found = plan(
        toys.problem(2, 4, dtype=torch.float32),
        row.planner,
        Budget(steps=3),
        seeds=1,
        warm_start=plan(toys.problem(2, 4), row.planner, Budget(steps=3), seeds=1).warm_start,
    )
    assert found.actions.dtype == torch.float32


@every_row
def test_the_state_of_another_planner_or_setting_is_not_continued(row: Row):
    """Only the actions carry over, since another planner cannot use the planner's state."""
    problem = toys.problem(2, 4)
    place = ROWS.index(row)
    for other in (
        ROWS[place - 1],
        ROWS[place - 2],
    ):  # other settings and other planners
        before = plan(problem, other.planner, Budget(steps=3), seeds=1)
        after = plan(problem, row.planner, Budget(steps=3), seeds=1, warm_start=before.warm_start)
        fresh = plan(problem, row.planner, Budget(steps=3), seeds=1, warm_start=before.actions)
        assert toys.same(after, fresh)


@every_row
def test_tighter_bounds_hold_for_what_was_planned_in_wider_ones(row: Row):
    problem = toys.problem(2, 4)
    before = plan(problem, row.planner, Budget(steps=6), seeds=1)
    tight = dataclasses.replace(problem, low=problem.low * 0 + 0.05, high=problem.high * 0.1)
    seen = []
    after = plan(
        tight,
        row.planner,
        Budget(steps=6),
        seeds=1,
        warm_start=before.warm_start,
        callback=lambda progress: seen.append(progress.best.actions),
    )
    for actions in (*seen, after.actions):
        assert (actions >= 0.05).all() and (actions <= 0.1).all()


@every_row
def test_of_a_batch_some_go_on(row: Row):
    """A warm start for some of the problems keeps only the actions, since the planner's state is for all."""
    before = plan(toys.problem(4, 3), row.planner, Budget(steps=4), seeds=1)
    some = toys.rows(toys.problem(4, 3), [1, 3])
    with pytest.raises(GraspPlannerError, match="warm_start"):
        plan(some, row.planner, Budget(steps=1), warm_start=before.warm_start)
    after = plan(some, row.planner, Budget(steps=1), warm_start=WarmStart(before.warm_start.actions[[1, 3]]))
    assert (after.cost <= before.cost[[1, 3]] * (1 + 1e-12)).all()


@every_row
def test_a_problem_that_failed_can_be_continued_when_the_fault_is_gone(row: Row):
    """After a fault in one problem, the others continue, and the faulty problem is not worse than its start."""
    problem = toys.problem(2, 4)
    problem.states[1], far = 1e6, 5e5
    calls = []

    class Failing:
        context = 1

        def __call__(self, states, actions):
            calls.append(1)
            out = inner(states, actions)
            bad = states[:, -1, :1].abs() > far
            return torch.where(bad & (len(calls) > 4), torch.nan, out)

    inner = toys.Nonlinear()
    before = plan(problem.through(Failing()), row.planner, Budget(steps=4), seeds=1)
    assert before.status.tolist() == [Status.BUDGET, Status.NONFINITE]
    after = plan(problem, row.planner, Budget(steps=4), seeds=1, warm_start=before.warm_start)
    assert after.status[0] == Status.BUDGET
    assert torch.isfinite(after.actions).all() and (after.actions.abs() <= 1).all()
    assert (after.cost <= before.cost * (1 + 1e-12)).all()


@every_row
def test_the_state_for_another_latent_or_scale_is_not_continued(row: Row):
    """Only the actions carry over, since virtual states have no meaning in another latent space."""
    before = plan(toys.problem(2, 4), row.planner, Budget(steps=4), seeds=1)
    scale = torch.full((3,), 2.0, dtype=torch.float64)
    for other in (toys.problem(2, 4, toys.Nonlinear(latent=5), latent=5), toys.problem(2, 4, scale=scale)):
        after = plan(other, row.planner, Budget(steps=4), seeds=1, warm_start=before.warm_start)
        fresh = plan(other, row.planner, Budget(steps=4), seeds=1, warm_start=before.actions)
        assert toys.same(after, fresh)
