"""The promises of every planner for a constrained objective: batch, seed, bounds, scale, faults, and violation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import Row, every_row

import toys
from grasp_planner import (
    AugmentedLagrangian,
    Budget,
    Constrained,
    GoalDistance,
    Margin,
    Markov,
    Problem,
    Status,
    action_rate,
    always,
    eventually,
    inside_ball,
    plan,
)

STEPS = Budget(steps=9)


def constrained(scale: float = 1.0, **settings) -> Constrained:
    """Return an objective with a keep-out zone, a region to visit, and a limit on the action rate."""
    zone = inside_ball(lambda states: states[..., :2] / scale, (0.4, 0.2), 0.4)
    visit = Margin(lambda states, actions: states[..., 2] / scale + 0.3)
    event = always(~zone, first=1) & eventually(visit, 1, 4) & always(action_rate(0.6))
    return Constrained(GoalDistance(), event, **settings)


def problem(batch: int = 6, **settings):
    return toys.problem(batch, 5, objective=constrained(**settings))


def around(row: Row):
    return AugmentedLagrangian(row.planner, update_every=3)


def margin_of(whole, found):
    return whole.objective.event.margin(torch.cat([whole.start[:, None], found.states], dim=1), found.actions)


@every_row
@pytest.mark.parametrize("wrap", [lambda row: row.planner, around], ids=["penalty", "multipliers"])
def test_batch_seed_bounds_best_and_violation(row: Row, wrap):
    whole, planner = problem(), wrap(row)
    seeds = [5, 6, 7, 8, 9, 10]
    found = plan(whole, planner, STEPS, seeds=seeds)
    assert toys.same(found, plan(whole, planner, STEPS, seeds=seeds)), "same seed, same plan"
    part = plan(toys.rows(whole, [4, 1]), planner, STEPS, seeds=[9, 6])
    for name in ("actions", "states", "cost", "violation"):
        torch.testing.assert_close(getattr(part, name), getattr(found, name)[[4, 1]], rtol=1e-7, atol=1e-7)
    assert torch.equal(part.status, found.status[[4, 1]])
    assert (found.actions >= whole.low).all() and (found.actions <= whole.high).all()
    assert (found.trace.cost.diff(dim=0) <= 0).all() and (found.cost <= found.trace.cost[-1]).all()
    torch.testing.assert_close(found.states, toys.rollout_by_hand(whole, found.actions))
    torch.testing.assert_close(found.violation, torch.relu(-margin_of(whole, found)))
    assert torch.equal(found.status == Status.VIOLATED, found.violation > 0)


@every_row
def test_the_cost_is_the_objective_and_the_penalty(row: Row):
    whole = problem(2, weight=7.0, clearance=0.1, violation_cost=3.0, smoothing=0.2)
    found = plan(whole, row.planner, Budget(steps=2), seeds=1)
    path = torch.cat([whole.start[:, None], found.states], dim=1)
    plain = toys.problem(2, 5).cost(found.states, found.actions)
    outside = (path[:, 1:, :2] - torch.tensor([0.4, 0.2])).norm(dim=-1) - 0.4
    rates = 0.6 - (found.actions[:, 1:] - found.actions[:, :-1]).abs().amax(-1)
    rates = torch.cat([torch.full((2, 1), 0.6), rates, rates[:, -1:]], dim=1)  # the last value is kept for s_T
    visit = 0.2 * torch.logsumexp((path[:, 1:5, 2] + 0.3) / 0.2, dim=1, keepdim=True) - 0.2 * torch.tensor(4.0).log()
    squares = torch.relu(0.1 - torch.cat([outside, rates, visit], dim=1)).square().sum(1)
    torch.testing.assert_close(found.cost, plain + 7.0 * squares + 3.0 * (found.violation > 0))


@every_row
def test_scale(row: Row):
    """The same problem in other latent units, with margins in the same units, has the same plan."""
    whole = problem(2)
    big = dataclasses.replace(
        toys.problem(2, 5, toys.Nonlinear()),
        dynamics=_Scaled(whole.dynamics),
        states=100 * whole.states,
        goal=100 * whole.goal,
        objective=constrained(100.0),
    )
    first, second = (plan(one, around(row), Budget(steps=4), seeds=2) for one in (whole, big))
    torch.testing.assert_close(first.actions, second.actions, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first.violation, second.violation, rtol=1e-5, atol=1e-5)


class _Scaled:
    context = 1

    def __init__(self, inner) -> None:
        self.inner = inner

    def __call__(self, states, actions):
        return 100 * self.inner(states / 100, actions)


@every_row
@pytest.mark.parametrize("wrap", [lambda row: row.planner, around], ids=["penalty", "multipliers"])
def test_a_margin_that_is_not_a_number_is_a_fault_of_its_own_problem(row: Row, wrap):
    whole = toys.problem(3, 5)
    bad = whole.start[1, 0]

    def margin(states, actions):
        return torch.where(states[:, :1, 0] == bad, torch.nan, 1.0) + 0 * states[..., 0]

    def objective(event):
        return dataclasses.replace(whole, objective=Constrained(GoalDistance(), event))

    found = plan(objective(always(Margin(margin))), wrap(row), STEPS, seeds=3)
    others = plan(
        objective(always(Margin(lambda states, actions: 1.0 + 0 * states[..., 0]))), wrap(row), STEPS, seeds=3
    )
    assert found.status[1] == Status.NONFINITE and torch.isfinite(found.actions).all()
    for i in (0, 2):
        torch.testing.assert_close(found.actions[i], others.actions[i], rtol=1e-7, atol=1e-7)
        assert found.status[i] == others.status[i] == Status.BUDGET


def test_without_constraints_there_is_no_violation():
    assert plan(toys.problem(2, 5), budget=Budget(steps=2)).violation is None


def test_converged_plans_satisfy_the_constraint():
    """At the goal already, but inside of the zone: no plan is solved before it leaves the zone."""
    start = torch.ones(1, 2)
    standing = Markov(lambda state, action: state + action)
    there = Problem.between(standing, start, start, 3, -torch.ones(2), torch.ones(2))
    assert plan(there, budget=Budget(steps=0)).status == Status.CONVERGED
    outside = always(~inside_ball(lambda states: states, (1.0, 1.2), 0.5))
    barred = dataclasses.replace(there, objective=Constrained(GoalDistance(), outside))
    assert plan(barred, budget=Budget(steps=0)).status == Status.VIOLATED
