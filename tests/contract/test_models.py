"""The promises of planners hold in our trainable models: batch, seed, bounds, best, faults, and untouched weights."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import ROWS, ModelRow, Row, every_model

import toys
from grasp_planner import Budget, Problem, Status, check_world_model, plan

STEPS = Budget(steps=5)
SEEDS = [5, 6, 7, 8]
# One planner of each kind: lifted, serial, sampling, second order.
some_planners = pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.name in ("grasp", "gd", "cem", "gauss_newton") and not row.variant],
    ids=lambda row: row.name,
)


def problem(asked: ModelRow) -> Problem:
    model = asked.model()
    latent = len(model.scale)
    start, goal = (0.5 * toys.fixed(4, latent, seed=seed) for seed in (1, 2))
    return Problem.between(model, start, goal, 4, model.low, model.high, scale=model.scale)


@every_model
@some_planners
def test_batch_seed_bounds_best_and_rollout(row: Row, asked: ModelRow):
    whole = problem(asked)
    before = {name: tensor.clone() for name, tensor in whole.dynamics.state_dict().items()}
    found = plan(whole, row.planner, STEPS, seeds=SEEDS)
    assert toys.same(found, plan(whole, row.planner, STEPS, seeds=SEEDS)), "same seed, same plan"
    part = plan(toys.rows(whole, [3, 1]), row.planner, STEPS, seeds=[8, 6])
    for name in ("actions", "states", "cost"):
        torch.testing.assert_close(getattr(part, name), getattr(found, name)[[3, 1]], rtol=1e-7, atol=1e-7)
    assert (found.actions >= whole.low).all() and (found.actions <= whole.high).all()
    assert (found.trace.cost.diff(dim=0) <= 0).all() and (found.cost <= found.trace.cost[-1]).all()
    assert (found.cost < found.trace.cost[0]).any(), "the actions matter"
    torch.testing.assert_close(found.states, toys.rollout_by_hand(whole, found.actions))
    torch.testing.assert_close(found.cost, toys.cost_by_hand(whole, found.actions))
    after = whole.dynamics.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(p.requires_grad and p.grad is None for p in whole.dynamics.parameters())


@every_model
@some_planners
def test_a_fault_stays_in_its_own_problem(row: Row, asked: ModelRow):
    whole = problem(asked)
    states = whole.states.clone()
    states[2] = 1e200  # its square, the cost, is infinite
    found = plan(dataclasses.replace(whole, states=states), row.planner, STEPS, seeds=SEEDS)
    sound = plan(toys.rows(whole, [0, 1, 3]), row.planner, STEPS, seeds=[5, 6, 8])
    assert found.status[2] == Status.NONFINITE and torch.isfinite(found.actions).all()
    torch.testing.assert_close(found.actions[[0, 1, 3]], sound.actions, rtol=1e-7, atol=1e-7)
    assert torch.equal(found.status[[0, 1, 3]], sound.status)


@every_model
def test_the_model_keeps_the_contract_of_a_world_model(asked: ModelRow):
    report = check_world_model(asked.model())
    assert report.ok, str(report)
