"""AugmentedLagrangian: the known optimum of a constrained problem, its shifts, and planners around it and inside it."""

from __future__ import annotations

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


@pytest.mark.parametrize("inner", [GD(lr=0.02), GaussNewton()])
def test_the_shifts_converge_to_the_multiplier(inner):
    shifts = []
    found = plan(
        pushed(4.0),
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


def test_without_constraints_it_is_the_inner_planner():
    problem = toys.problem(3, 5)
    inner = plan(problem, GD(lr=0.1), Budget(steps=9))
    assert toys.same(inner, plan(problem, AugmentedLagrangian(GD(lr=0.1), update_every=2), Budget(steps=9)))


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
