"""Objectives may reward: a cost that is negative or 0 does not stop planning unless 0 is the least possible cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from contract_rows import ROWS, Row, every_row

import toys
from grasp_planner import (
    CEM,
    ICEM,
    MPPI,
    Budget,
    GoalDistance,
    Markov,
    MultiStart,
    Problem,
    RandomShooting,
    Status,
    plan,
)


@dataclass(frozen=True)
class Rewarded:
    """The goal distance minus a number, which makes every cost negative if it is 1000."""

    reward: float = 1000.0

    def terminal(self, states, goal):
        return (states - goal).square().sum(-1) - self.reward

    def stage(self, states, actions, goal):
        return torch.zeros_like(actions[..., 0])


@dataclass(frozen=True)
class InBall:
    """A sparse reward: -1 within a ball around the goal, 0 elsewhere."""

    def terminal(self, states, goal):
        return -((states - goal).square().sum(-1) < 0.25).to(states.dtype)

    def stage(self, states, actions, goal):
        return torch.zeros_like(actions[..., 0])


any_objective = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.any_objective], ids=lambda row: f"{row.name}-{row.variant}"
)


@any_objective
def test_negative_costs_are_planned_on(row: Row):
    problem = toys.problem(2, 4, objective=Rewarded())
    found = plan(problem, row.planner, Budget(steps=12), seeds=1)
    assert found.steps == 12 and (found.status == Status.BUDGET).all()
    assert (found.cost < found.trace.cost[0]).all() and (found.cost < 0).all()


@any_objective
def test_a_cost_of_0_is_planned_on_unless_it_is_the_least(row: Row):
    """The first plan costs exactly 0, and better plans exist."""
    plain = toys.problem(1, 4)
    first = float(toys.cost_by_hand(plain, torch.zeros(1, 4, 2, dtype=torch.float64)))
    start = plan(plain, row.planner, Budget(steps=0)).trace.cost[0].item()
    assert start == pytest.approx(first)
    found = plan(toys.problem(1, 4, objective=Rewarded(start)), row.planner, Budget(steps=12), seeds=1)
    assert abs(found.trace.cost[0].item()) < 1e-12
    assert found.steps == 12 and (found.status == Status.BUDGET).all() and (found.cost < 0).all()


@any_objective
def test_a_tolerance_holds_for_rewards_too(row: Row):
    problem = toys.problem(2, 4, objective=Rewarded())
    found = plan(problem, dataclasses.replace(row.planner, tolerance=1e-6), Budget(steps=12), seeds=1)
    assert found.steps == 0 and (found.status == Status.CONVERGED).all(), "every cost is below the tolerance"


def test_an_objective_of_ones_own_may_say_what_its_least_cost_is():
    @dataclass(frozen=True)
    class Known(Rewarded):
        @property
        def least_cost(self) -> float:
            return -self.reward

    start = torch.zeros(1, 2)
    problem = Problem.between(Markov(lambda s, a: s + a), start, start, 3, -torch.ones(2), 1.0, objective=Known())
    assert plan(problem, CEM(), Budget(steps=5)).status == Status.CONVERGED
    assert plan(dataclasses.replace(problem, objective=Rewarded()), CEM(), Budget(steps=5)).status == Status.BUDGET


@pytest.mark.parametrize(
    "planner",
    [CEM(samples=64, elites=8), ICEM(samples=64, elites=8), MPPI(samples=64), RandomShooting(samples=64)]
    + [MultiStart(CEM(samples=32, elites=4), starts=2)],
    ids=lambda planner: type(planner).__name__,
)
def test_a_sparse_reward_is_found_by_samplers(planner):
    start, goal, bound = torch.zeros(4, 2), torch.full((4, 2), 0.5), torch.ones(2)
    problem = Problem.between(Markov(lambda s, a: s + 0.3 * a), start, goal, 6, -bound, bound, objective=InBall())
    found = plan(problem, planner, Budget(steps=40), seeds=[1, 2, 3, 4])
    assert (found.trace.cost[0] == 0).all() and found.steps == 40
    assert (found.cost == -1).all() and (found.status == Status.BUDGET).all()


@every_row
@pytest.mark.parametrize("size", [1e20, 1e-23, 3e30, 1e-37])
def test_goals_of_any_size_are_neither_solved_nor_lost(row: Row, size):
    """In float32 the squares of these numbers are infinite or 0."""
    move = Markov(lambda s, a: s + 0.1 * size * a)
    bound = torch.ones(2)
    start, goal = torch.zeros(2, 2), torch.tensor([[0.5, -0.4], [0.2, 0.9]]) * size
    found = plan(Problem.between(move, start, goal, 5, -bound, bound), row.planner, Budget(steps=12), seeds=1)
    like = plan(
        Problem.between(Markov(lambda s, a: s + 0.1 * a), start, goal / size, 5, -bound, bound),
        row.planner,
        Budget(steps=12),
        seeds=1,
    )
    # A planner may reach the goal exactly. In float64 the squares are neither infinite nor 0.
    short = (0.1 * found.actions.double().sum(1) - goal.double() / size).square().sum(-1)
    assert found.steps == 12 and ((found.status == Status.BUDGET) | (short < 1e-10)).all()
    # Rounding in float32 may choose other elites.
    torch.testing.assert_close(found.cost, like.cost, rtol=0.15, atol=1e-3)


def test_a_start_at_the_goal_is_still_solved():
    start = torch.full((1, 2), 1e20)
    problem = Problem.between(Markov(lambda s, a: s + a), start, start, 3, -torch.ones(2), 1.0)
    assert plan(problem, CEM(), Budget(steps=5)).status == Status.CONVERGED
    assert GoalDistance().least_cost == 0
