"""Annealing keeps every promise: every planner plans in a smoother version of the model first, then in the model."""

from __future__ import annotations

import pytest
import torch
from contract_rows import Row, every_row

import toys
from grasp_planner import Budget, Chunked, Plan, Problem, Sequential, Status, plan

STEPS = Budget(steps=8)


def annealed(row: Row) -> Sequential:
    return Sequential(row.planner, row.planner, share=0.5, smoothing=1.0)


def problem(batch: int = 3) -> Problem:
    return toys.problem(batch, 4, toys.Wavy())


def planned(row: Row, whole: Problem, budget: Budget = STEPS) -> Plan:
    return plan(whole, annealed(row), budget, seeds=list(range(whole.batch)))


@every_row
def test_the_plan_is_a_plan_of_the_model_itself(row: Row):
    whole = problem()
    found = planned(row, whole)
    torch.testing.assert_close(found.cost, toys.cost_by_hand(whole, found.actions))
    assert (found.cost <= toys.cost_by_hand(whole, torch.zeros_like(found.actions)) * (1 + 1e-12)).all()
    assert (found.trace.cost.diff(dim=0) <= 0).all() and (found.actions.abs() <= 1).all()
    assert set(found.status.tolist()) == {Status.BUDGET}


@every_row
def test_same_seed_same_plan_alone_and_in_a_batch_and_in_pieces(row: Row):
    whole = problem()
    found = planned(row, whole)
    assert toys.same(found, planned(row, whole))
    alone = plan(toys.rows(whole, [2]), annealed(row), STEPS, seeds=[2])
    torch.testing.assert_close(alone.actions, found.actions[[2]], rtol=1e-7, atol=1e-7)
    pieces = planned(row, whole.through(Chunked(whole.dynamics, rows=2)))
    torch.testing.assert_close(pieces.actions, found.actions, rtol=1e-7, atol=1e-7)


@every_row
@pytest.mark.parametrize("transitions", [4, 150, 400])
def test_no_budget_is_exceeded_and_both_halves_are_planned(row: Row, transitions: int):
    whole = problem(2)
    found = planned(row, whole, Budget(transitions=transitions))
    rows = whole.dynamics.rows
    assert sum(count for _, count in rows) == found.transitions * 2 <= transitions * 2
    if transitions == 400:
        smooth = sum(count for amount, count in rows if amount == 1.0)
        scoring = 2 * 2 * whole.horizon  # of the first and the last plan
        assert smooth > 0 and found.transitions * 2 - smooth > scoring
