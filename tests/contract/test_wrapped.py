"""Wrapped models keep every promise: every planner gives the same plan with a chunked or compiled model."""

from __future__ import annotations

import functools

import pytest
import torch
from contract_rows import Row, every_row

import toys
from grasp_planner import Budget, Chunked, Compiled, Status, plan
from grasp_planner.wrappers.projected import Projected
from grasp_planner.wrappers.straight_through import StraightThrough

STEPS = Budget(steps=5)


def agree(found, expected) -> None:
    for name in ("actions", "states", "cost"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")
    assert torch.equal(found.status, expected.status)
    torch.testing.assert_close(found.trace.cost, expected.trace.cost, rtol=1e-7, atol=1e-7)
    assert (found.transitions, found.calls) == (expected.transitions, expected.calls)


@every_row
@pytest.mark.parametrize("context", [1, 3])
def test_in_pieces_as_whole(row: Row, context):
    whole = toys.problem(5, 4, toys.Nonlinear() if context == 1 else toys.Remembering(context))
    in_pieces = whole.through(Chunked(whole.dynamics, rows=3))
    agree(
        plan(in_pieces, row.planner, STEPS, seeds=[1, 2, 3, 4, 5]),
        plan(whole, row.planner, STEPS, seeds=[1, 2, 3, 4, 5]),
    )


@every_row
def test_in_pieces_alone_as_in_a_batch(row: Row):
    chunked = Chunked(toys.Nonlinear(), rows=7)
    whole = toys.problem(9, 4, chunked)
    together = plan(whole, row.planner, STEPS, seeds=list(range(9)))
    alone = plan(toys.rows(whole, [6]), row.planner, STEPS, seeds=[6])
    torch.testing.assert_close(alone.actions, together.actions[[6]], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(alone.cost, together.cost[[6]], rtol=1e-7, atol=1e-7)


@every_row
def test_in_pieces_a_fault_stays_in_its_own_problem(row: Row):
    """The model returns NaN for problem 2. The plans of the other problems do not change."""
    inner = toys.Nonlinear()

    class Faulty:
        context = 1

        def __call__(self, states, actions):
            return torch.where(states[:, -1, :1] > 50.0, torch.nan, inner(states, actions))

    sound = toys.problem(4, 4)
    start = sound.states.clone()
    start[2] = 60.0
    faulty = toys.Problem(
        Chunked(Faulty(), rows=3),
        start,
        sound.past_actions,
        sound.goal,
        4,
        sound.low,
        sound.high,
        scale=sound.goal[0] * 0 + 1,
    )
    found = plan(faulty, row.planner, STEPS)
    assert found.status.tolist()[2] == Status.NONFINITE and (found.status[[0, 1, 3]] == Status.BUDGET).all()
    assert torch.isfinite(found.actions).all()


@functools.cache
def compiled() -> Compiled:
    made = Compiled(toys.Nonlinear())
    made.warm_up(toys.fixed(4, 1, 3, seed=1), toys.fixed(4, 1, 2, seed=2))
    assert made.failure is None
    return made


@every_row
def test_compiled_as_it_is_alone_and_in_a_batch_and_in_pieces(row: Row):
    model, seeds = compiled(), [1, 2, 3, 4, 5]
    whole = toys.problem(5, 4)
    expected = plan(whole, row.planner, STEPS, seeds=seeds)
    with torch.compiler.set_stance("fail_on_recompile"):
        agree(plan(whole.through(model), row.planner, STEPS, seeds=seeds), expected)
        agree(plan(whole.through(Chunked(model, rows=3)), row.planner, STEPS, seeds=seeds), expected)
        again = plan(whole.through(model), row.planner, STEPS, seeds=seeds)
        assert toys.same(again, plan(whole.through(model), row.planner, STEPS, seeds=seeds))
        alone = plan(toys.rows(whole.through(model), [3]), row.planner, STEPS, seeds=[4])
    torch.testing.assert_close(alone.actions, expected.actions[[3]], rtol=1e-7, atol=1e-7)


@every_row
@pytest.mark.parametrize("context", [1, 3])
def test_a_projection_that_changes_nothing_and_whole_derivatives(row: Row, context):
    whole = toys.problem(5, 4, toys.Nonlinear() if context == 1 else toys.Remembering(context))
    same = StraightThrough(Projected(whole.dynamics, lambda states: 1.0 * states), share=1.0)
    agree(plan(whole.through(same), row.planner, STEPS, seeds=1), plan(whole, row.planner, STEPS, seeds=1))


@every_row
def test_projected_without_state_derivatives_alone_as_in_a_batch(row: Row):
    whole = toys.problem(5, 4, StraightThrough(Projected(toys.Nonlinear(), torch.tanh)))
    seeds = [1, 2, 3, 4, 5]
    together = plan(whole, row.planner, STEPS, seeds=seeds)
    assert toys.same(together, plan(whole, row.planner, STEPS, seeds=seeds))
    assert (together.actions.abs() <= 1).all() and (together.trace.cost.diff(dim=0) <= 0).all()
    torch.testing.assert_close(together.states, toys.rollout_by_hand(whole, together.actions))
    alone = plan(toys.rows(whole, [3]), row.planner, STEPS, seeds=[4])
    torch.testing.assert_close(alone.actions, together.actions[[3]], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(alone.cost, together.cost[[3]], rtol=1e-7, atol=1e-7)
