"""The promises of every planner for a discounted return, in problems without a goal: batch, seed, scale, faults."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import ROWS, Row
from torch import nn

import toys
from grasp_planner import Budget, DiscountedReturn, GraspPlannerError, Problem, Status, plan

STEPS = Budget(steps=9)
GAMMA = 0.9
LATE = Budget(steps=40)


def reward(states, actions):
    """Return a reward of a state and an action, which is neither linear nor quadratic."""
    return torch.cos(states[..., 0]) - 0.3 * states[..., 1].abs() - 0.05 * actions.square().sum(-1)


def value(states):
    """Return a value of a state."""
    return 2.0 - (states - 0.4).square().sum(-1)


def objective(unit: torch.Tensor | float = 1.0, discount: float = GAMMA) -> DiscountedReturn:
    """Return the objective for states in other units."""
    return DiscountedReturn(lambda s, a: reward(s / unit, a), lambda s: value(s / unit), discount)


def problem(batch: int = 6, model: object | None = None, of: object | None = None, **settings) -> Problem:
    whole = toys.problem(batch, 5, model, objective=objective() if of is None else of, **settings)
    return dataclasses.replace(whole, goal=None)


def return_by_hand(whole: Problem, actions: torch.Tensor, gamma: float = GAMMA) -> torch.Tensor:
    """Sum the discounted rewards and the value of the last state, step by step."""
    visited = torch.cat([whole.start[:, None], toys.rollout_by_hand(whole, actions)], dim=1)
    total, factor = torch.zeros(len(actions), dtype=torch.float64), 1.0
    for t in range(actions.shape[1]):
        total = total + factor * reward(visited[:, t], actions[:, t])
        factor = factor * gamma
    return total + factor * value(visited[:, -1])


any_objective = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.any_objective], ids=lambda row: f"{row.name}-{row.variant}"
)
squares_only = pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.any_objective], ids=lambda row: f"{row.name}-{row.variant}"
)


@any_objective
@pytest.mark.parametrize("context", [1, 3])
def test_batch_seed_bounds_best_and_cost(row: Row, context):
    whole = problem(model=toys.Nonlinear() if context == 1 else toys.Remembering(context))
    seeds = [5, 6, 7, 8, 9, 10]
    found = plan(whole, row.planner, STEPS, seeds=seeds)
    assert toys.same(found, plan(whole, row.planner, STEPS, seeds=seeds)), "same seed, same plan"
    part = plan(toys.rows(whole, [4, 1]), row.planner, STEPS, seeds=[9, 6])
    for name in ("actions", "states", "cost"):
        torch.testing.assert_close(getattr(part, name), getattr(found, name)[[4, 1]], rtol=1e-7, atol=1e-7)
    assert (found.actions >= whole.low).all() and (found.actions <= whole.high).all()
    assert (found.status == Status.BUDGET).all(), "the least cost of a return is not known"
    assert (found.trace.cost.diff(dim=0) <= 0).all() and (found.cost <= found.trace.cost[-1]).all()
    torch.testing.assert_close(found.states, toys.rollout_by_hand(whole, found.actions))
    torch.testing.assert_close(found.cost, -return_by_hand(whole, found.actions))


@any_objective
def test_the_plan_earns_more_than_its_start(row: Row):
    found = plan(problem(), row.planner, LATE, seeds=1)
    assert (found.cost <= found.trace.cost[0]).all()
    assert (found.cost < found.trace.cost[0]).sum() >= 5, "LatCo has not moved one of the six plans in so few steps"


@any_objective
def test_all_coordinates_times_a_factor(row: Row):
    whole = problem(4)
    big = dataclasses.replace(
        whole, dynamics=InUnits(whole.dynamics, 100.0), states=100 * whole.states, goal=None, objective=objective(100.0)
    )
    first, second = (plan(one, row.planner, STEPS, seeds=2) for one in (whole, big))
    torch.testing.assert_close(first.actions, second.actions, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(first.cost, second.cost, rtol=1e-6, atol=1e-6)


@any_objective
def test_each_coordinate_in_units_of_its_own_with_a_scale_given(row: Row):
    unit, scale = torch.tensor([100.0, 0.01, 3.0]).double(), torch.tensor([0.7, 1.3, 2.0]).double()
    whole = problem(4, toys.Remembering(3), scale=scale)
    other = dataclasses.replace(
        whole,
        dynamics=InUnits(whole.dynamics, unit),
        states=unit * whole.states,
        goal=None,
        objective=objective(unit),
        scale=scale * unit,
    )
    first, second = (plan(one, row.planner, STEPS, seeds=2) for one in (whole, other))
    torch.testing.assert_close(first.actions, second.actions, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(first.cost, second.cost, rtol=1e-6, atol=1e-6)


class InUnits:
    """A model with other units of its latent: F'(u s, a) = u F(s, a)."""

    def __init__(self, model, unit) -> None:
        self.context, self.model, self.unit = model.context, model, unit

    def __call__(self, states, actions):
        return self.unit * self.model(states / self.unit, actions)


@any_objective
@pytest.mark.parametrize("part", ["reward", "value"])
def test_a_return_that_is_not_a_number_is_a_fault_of_its_own_problem(row: Row, part):
    whole = problem(3)

    def spoilt(function):
        """Return the function with NaN in states whose last coordinate is large."""
        return lambda states, *actions: torch.where(states[..., 2] > 50.0, torch.nan, function(states, *actions))

    parts = {"reward": reward, "value": value}
    parts[part] = spoilt(parts[part])
    faulty = DiscountedReturn(parts["reward"], parts["value"], GAMMA)
    states = whole.states.clone()
    states[1, :, 2] = 100.0  # the model changes this coordinate by less than 50 in five steps
    asked = dataclasses.replace(whole, states=states, goal=None, objective=faulty)
    found = plan(asked, row.planner, STEPS, seeds=[1, 2, 3])
    sound = plan(toys.rows(dataclasses.replace(whole, objective=faulty), [0, 2]), row.planner, STEPS, seeds=[1, 3])
    assert found.status[1] == Status.NONFINITE and torch.isfinite(found.actions).all()
    torch.testing.assert_close(found.actions[[0, 2]], sound.actions, rtol=1e-7, atol=1e-7)
    assert torch.equal(found.status[[0, 2]], sound.status)


@any_objective
def test_the_edges(row: Row):
    for horizon, discount in ((1, GAMMA), (5, 1.0), (5, 0.0)):
        whole = dataclasses.replace(problem(2, of=objective(discount=discount)), horizon=horizon, goal=None)
        found = plan(whole, row.planner, STEPS, seeds=1)
        torch.testing.assert_close(found.cost, -return_by_hand(whole, found.actions, discount))
    alone = dataclasses.replace(problem(1, of=DiscountedReturn(reward)), goal=None)
    assert torch.isfinite(plan(alone, row.planner, STEPS).cost).all()


class Network(nn.Module):
    """A reward or value with dropout, which would change the cost from call to call in training mode."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).double()

    def forward(self, *parts):
        return self.layers(torch.cat(parts, dim=-1))[..., 0]


@any_objective
def test_networks_are_evaluated_without_dropout_and_left_as_they_were(row: Row):
    networks = Network(5).train(), Network(3).train()
    before = [{name: tensor.clone() for name, tensor in one.state_dict().items()} for one in networks]
    whole = problem(2, of=DiscountedReturn(*networks, GAMMA))
    assert toys.same(*(plan(whole, row.planner, STEPS, seeds=3) for _ in range(2)))
    for one, state in zip(networks, before):
        assert all(module.training for module in one.modules())
        assert all(p.requires_grad and p.grad is None for p in one.parameters())
        assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in state.items())


@squares_only
def test_planners_for_sums_of_squares_say_what_to_use_instead(row: Row):
    with pytest.raises(GraspPlannerError, match="sum of squares, such as GoalDistance, got DiscountedReturn: use "):
        plan(problem(1), row.planner, STEPS)


def test_without_a_planner_there_is_one_for_any_cost():
    found = plan(problem(2), budget=Budget(steps=30))
    assert (found.cost < found.trace.cost[0]).all()
