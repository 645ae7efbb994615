"""AugmentedLagrangian: the known optimum of a constrained problem, its shifts, and planners around it and inside it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    AugmentedLagrangian,
    Budget,
    Constrained,
    GaussNewton,
    GoalDistance,
    LatCo,
    Margin,
    Markov,
    MultiStart,
    Problem,
    always,
    plan,
)


def pushed(weight: float, clearance: float = 0.0) -> Problem:
    """One step s + a from 0 to the goal 1, and s may be 0.5 at most: the optimum is 0.5, the multiplier is 1."""
    below = always(Margin(lambda states, actions: 0.5 - states[..., 0]))
    objective = Constrained(GoalDistance(), below, weight, clearance, violation_cost=0.0)
    start, goal = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    return Problem.between(Markov(lambda s, a: s + a), start, goal, 1, -5.0, 5.0, objective=objective)


def test_a_penalty_ends_where_its_slope_balances_the_cost():
    found = plan(pushed(4.0), GD(lr=0.02), Budget(steps=600))
    # 2 (1 - a) = 8 (a - 0.5)
    torch.testing.assert_close(found.actions.flatten(), torch.tensor([0.6]).double(), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.violation, torch.tensor([0.1]).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("violation_cost", [0.0, 100.0])
@pytest.mark.parametrize("inner", [GD(lr=0.02), GaussNewton()])
def test_the_shifts_converge_to_the_multiplier(inner, violation_cost):
    """The inner planner does not see the violation cost, which would keep it away from the boundary."""
    shifts, problem = [], pushed(4.0)
    found = plan(
        problem.under(dataclasses.replace(problem.objective, violation_cost=violation_cost)),
        AugmentedLagrangian(inner, update_every=60),
        Budget(steps=900),
        callback=lambda progress: shifts.append(progress.state.shift) if progress.state is not None else None,
    )
    # The multiplier 2 * weight * u is the slope 2 (1 - 0.5) of the cost.
    torch.testing.assert_close(shifts[-1].max(), torch.tensor(1 / 8).double(), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        found.warm_start.state.best.actions.flatten(), torch.tensor([0.5]).double(), rtol=1e-3, atol=0
    )


def test_a_feasible_plan_is_preferred_by_the_violation_cost():
    feasible = pushed(4.0, clearance=1e-3)
    barred = feasible.under(Constrained(GoalDistance(), feasible.objective.event, 4.0, 1e-3, violation_cost=10.0))
    found = plan(barred, AugmentedLagrangian(GD(lr=0.02), update_every=60), Budget(steps=900))
    assert found.violation == 0 and 0.48 < found.actions.item() <= 0.5


def test_an_update_is_at_the_best_plan_since_the_last_update():
    """Each shift is max(0, clearance + u - m) at the best plan for u, and the inner planner begins again there."""
    planner, states = AugmentedLagrangian(GD(lr=0.01), update_every=3), []
    plan(
        pushed(4.0, clearance=0.01),
        planner,
        Budget(steps=9),
        warm_start=torch.full((1, 1, 1), 0.8),
        callback=lambda progress: states.append(progress.state) if progress.step else None,
    )
    assert [state.steps for state in states] == [1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert not states[2].shift.any()
    for before, after in (states[2:4], states[5:7]):
        margins = 0.5 - torch.cat([torch.zeros(1, 1).double(), before.best.states[:, :, 0]], dim=1)  # of s_0 and s_1
        torch.testing.assert_close(after.shift, torch.relu(0.01 + before.shift - margins))
        torch.testing.assert_close(after.best.actions, before.best.actions)
        assert after.shift[0, 0] == 0 and after.shift[0, 1] > before.shift[0, 1] + 0.2


@pytest.mark.parametrize("inner", [GD(lr=0.1), CEM(samples=6, elites=2), MultiStart(GD(), starts=3)])
def test_without_constraints_it_is_the_inner_planner(inner):
    problem = toys.problem(3, 5)
    found = plan(problem, AugmentedLagrangian(inner, update_every=2), Budget(steps=9), seeds=[1, 2, 3])
    assert toys.same(found, plan(problem, inner, Budget(steps=9), seeds=[1, 2, 3]))


NESTED = [
    AugmentedLagrangian(MultiStart(GD(lr=0.05), starts=3), update_every=20),
    MultiStart(AugmentedLagrangian(GD(lr=0.05), update_every=20), starts=3),
    MultiStart(AugmentedLagrangian(GaussNewton(), update_every=7), starts=2, restart_every=30),
    AugmentedLagrangian(CEM(samples=32, elites=6), update_every=10),
    AugmentedLagrangian(GRASP(sync_every=5, sync_steps=5), update_every=11),
    AugmentedLagrangian(LatCo(score_every=2), update_every=20),
    AugmentedLagrangian(LatCo(method="gauss_newton", score_every=1), update_every=20),
    GRASP(sync=AugmentedLagrangian(GD(), update_every=4), sync_every=5, sync_steps=12),
]


@pytest.mark.parametrize("planner", NESTED)
def test_inside_and_around_other_planners(planner):
    """The first goal satisfies the limits on both coordinates, and the second goal exceeds the limit on y."""
    event = always(Margin(lambda s, a: 0.3 - s[..., 1]) & Margin(lambda s, a: 1.2 - s[..., 0]))
    objective = Constrained(GoalDistance(), event, weight=20.0, clearance=0.01)
    start, goal = torch.zeros(2, 2).double(), torch.tensor([[1.0, 0.0], [1.0, 1.0]]).double()
    model = Markov(lambda s, a: s + 0.3 * a)
    problem = Problem.between(model, start, goal, 6, -1.0, 1.0, objective=objective, action_size=2)
    found = plan(problem, planner, Budget(steps=120), seeds=1)
    assert (found.violation == 0).all(), found.violation
    assert found.cost[1] < found.trace.cost[0, 1]
