"""The promises of every planner for a constrained objective: batch, seed, bounds, scale, faults, and violation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from contract_rows import Other, Row, every_row
from torch import nn

import toys
from grasp_planner import (
    CEM,
    GD,
    AugmentedLagrangian,
    Budget,
    Constrained,
    GaussNewton,
    GoalDistance,
    GraspPlannerError,
    Margin,
    Markov,
    Problem,
    Status,
    action_rate,
    always,
    diagnose,
    eventually,
    inside_ball,
    plan,
)
from grasp_planner.control.saving import load_plan, save_plan
from grasp_planner.core.constraints import penalised, penalty_residuals, term_count, violation
from grasp_planner.planners.penalty_rows import penalty_rows
from grasp_planner.trust.data_distance import NearestStates, PrincipalComponents, near_data

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
    assert torch.equal(found.violation, torch.relu(-margin_of(whole, found))), "exact, without smoothing"
    assert torch.equal(found.status == Status.VIOLATED, found.violation > 0)


@every_row
def test_the_cost_is_the_objective_and_the_penalty(row: Row):
    whole = problem(2, weight=7.0, clearance=0.1, violation_cost=3.0, smoothing=0.2)
    found = plan(whole, row.planner, Budget(steps=2), seeds=1)
    path = torch.cat([whole.start[:, None], found.states], dim=1)
    plain = toys.problem(2, 5).cost(found.states, found.actions)
    outside = (path[:, 1:, :2] - torch.tensor([0.4, 0.2], dtype=path.dtype)).norm(dim=-1) - 0.4
    rates = 0.6 - (found.actions[:, 1:] - found.actions[:, :-1]).abs().amax(-1)  # no change at the ends: no penalty
    visit = 0.2 * torch.logsumexp((path[:, 1:5, 2] + 0.3) / 0.2, dim=1, keepdim=True) - 0.2 * math.log(4)
    squares = torch.relu(0.1 - torch.cat([outside, rates, visit], dim=1)).square().sum(1)
    torch.testing.assert_close(found.cost, plain + 7.0 * squares + 3.0 * (found.violation > 0))


@every_row
@pytest.mark.parametrize("make", [PrincipalComponents, NearestStates])
def test_a_trust_region_around_data(row: Row, make):
    near = always(near_data(make(toys.fixed(50, 3, seed=4)), 1.2), first=1)
    whole, seeds = toys.problem(4, 5, objective=Constrained(GoalDistance(), near)), [5, 6, 7, 8]
    found = plan(whole, row.planner, STEPS, seeds=seeds)
    assert toys.same(found, plan(whole, row.planner, STEPS, seeds=seeds)), "same seed, same plan"
    part = plan(toys.rows(whole, [2]), row.planner, STEPS, seeds=[7])
    for name in ("actions", "cost", "violation"):
        torch.testing.assert_close(getattr(part, name), getattr(found, name)[[2]], rtol=1e-7, atol=1e-7)
    assert (found.actions.abs() <= 1).all() and (found.trace.cost.diff(dim=0) <= 0).all()
    assert torch.equal(found.violation, torch.relu(-margin_of(whole, found)))


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


def test_without_constraints_there_is_no_violation_and_no_work():
    whole = toys.problem(2, 5)
    found = plan(whole, budget=Budget(steps=2))
    parts = found.states, found.actions
    assert found.violation is None and violation(whole, *parts) is None and term_count(whole) == 0
    assert penalised(whole, found.cost, *parts) is found.cost
    assert penalty_residuals(whole, *parts) is None and penalty_rows(whole, *parts) is None


def test_a_reward_with_a_constraint_is_never_solved():
    """The start is the goal, where the objective has the cost 0; it does not know its least cost."""
    start = torch.ones(1, 2)
    free = Constrained(Other(), always(Margin(lambda states, actions: 1.0 + 0 * states[..., 0])))
    model = Markov(lambda state, action: state + action)
    there = Problem.between(model, start, start, 3, -torch.ones(2), torch.ones(2), objective=free)
    assert plan(there, GD(), Budget(steps=0)).status == Status.BUDGET


def test_modules_in_an_event_are_frozen_while_planning_and_diagnosing():
    net = nn.Dropout(0.5).double()
    event = always(Margin(lambda states, actions: net(states)[..., 0] + 1.0))
    whole = toys.problem(2, 5, objective=Constrained(GoalDistance(), event))
    found = plan(whole, GD(), STEPS)
    assert toys.same(found, plan(whole, GD(), STEPS)) and net.training
    told = diagnose(toys.problem(2, 5), found, events={"again": event}).margins["again"]
    assert torch.equal(found.violation, torch.relu(-told)) and net.training


@pytest.mark.parametrize("planner", [GD(), GaussNewton()])
def test_an_event_without_gradient_ranks_plans(planner):
    """The violation cost chooses the plan; the planner follows the gradient of the objective."""
    start, goal = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    low = always(Margin(lambda states, actions: (states[..., 0] < 0.6).double() - 0.5))
    model = Markov(lambda state, action: state + 0.05 * action)
    whole = Problem.between(model, start, goal, 20, -1.0, 1.0, objective=Constrained(GoalDistance(), low))
    found = plan(whole, planner, Budget(steps=30))
    assert found.violation == 0 and found.status == Status.BUDGET


def test_a_saved_plan_keeps_its_violation_and_its_multipliers(tmp_path):
    whole, planner = problem(3, clearance=1.0), AugmentedLagrangian(CEM(samples=6, elites=2), update_every=2)
    found = plan(whole, planner, Budget(steps=5), seeds=1)
    loaded = load_plan(save_plan(found, tmp_path / "a.plan"))
    assert torch.equal(loaded.violation, found.violation)
    assert torch.equal(loaded.warm_start.state.shift, found.warm_start.state.shift)
    assert found.warm_start.state.shift.any()
    more = [plan(whole, planner, Budget(steps=3), seeds=1, warm_start=one.warm_start) for one in (found, loaded)]
    assert toys.same(*more)
    wrong = dataclasses.replace(found, violation=found.violation[:2])
    with pytest.raises(GraspPlannerError, match=r"plan.violation must be 3 problems"):
        load_plan(save_plan(wrong, tmp_path / "b.plan"))


def test_multipliers_of_another_event_are_refused():
    whole, planner = problem(2), AugmentedLagrangian(GD(), update_every=2)
    found = plan(whole, planner, Budget(steps=5))
    other = whole.under(Constrained(GoalDistance(), whole.objective.event & always(action_rate(0.1))))
    with pytest.raises(GraspPlannerError, match=r"the multipliers are of 12 terms: if the event has changed"):
        plan(other, planner, Budget(steps=5), warm_start=found.warm_start)
    assert plan(other, planner, Budget(steps=5), warm_start=found.actions).violation is not None


def test_converged_plans_satisfy_the_constraint():
    """At the goal already, but inside of the zone: no plan is solved before it leaves the zone."""
    start = torch.ones(1, 2)
    standing = Markov(lambda state, action: state + action)
    there = Problem.between(standing, start, start, 3, -torch.ones(2), torch.ones(2))
    assert plan(there, budget=Budget(steps=0)).status == Status.CONVERGED
    outside = always(~inside_ball(lambda states: states, (1.0, 1.2), 0.5))
    barred = dataclasses.replace(there, objective=Constrained(GoalDistance(), outside))
    assert plan(barred, budget=Budget(steps=0)).status == Status.VIOLATED
