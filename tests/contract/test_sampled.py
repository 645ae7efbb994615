"""The promises of every planner on sampled futures with action noise: batch, seed, bounds, cost, scale, and faults."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import ROWS, Row

import toys
from grasp_planner import Budget, GoalDistance, Problem, Status, plan
from grasp_planner.models import CVaR, Sampled

STEPS = Budget(steps=9)
SAMPLES, NOISE = 3, 0.4


class World:
    """A toy model in other units of its latents, with what a world model has besides."""

    frameskip = 1
    low, high = -torch.ones(2).double(), torch.ones(2).double()

    def __init__(self, model, unit: float = 1.0) -> None:
        self.model, self.context, self.unit = model, model.context, unit
        self.scale = torch.full((3,), unit, dtype=torch.float64)

    def __call__(self, states, actions):
        return self.unit * self.model(states / self.unit, actions)

    def encode(self, observations):
        return self.unit * observations["state"]


def problem(batch: int = 6, context: int = 1, averse: bool = False, unit: float = 1.0, inner=None) -> Problem:
    """Return problems on sampled futures, for the mean cost or for the cost of the worst samples."""
    inner = (toys.Nonlinear() if context == 1 else toys.Remembering(context)) if inner is None else inner
    plain = toys.problem(batch, 5, inner)
    futures = Sampled(World(inner, unit), SAMPLES, action_noise=NOISE, action_bounds=(-1.2, 1.2))
    objective = CVaR(GoalDistance(stage_weight=0.3), SAMPLES, 0.5) if averse else None
    whole = Problem.observed(
        futures,
        {"state": plain.states},
        {"state": plain.goal[:, None]},
        5,
        past_actions=plain.past_actions,
        objective=objective,
    )
    return whole if averse else whole.under(dataclasses.replace(whole.objective, stage_weight=0.3))


def cost_by_hand(whole: Problem, actions: torch.Tensor, averse: bool) -> torch.Tensor:
    """Compute the cost of plans, one sample and one step at a time. The scale of the model is 1."""
    futures, context = whole.dynamics, whole.context
    visited = []
    for i in range(SAMPLES):
        part = slice(3 * i, 3 * i + 3)
        states = list(whole.states[..., part].unbind(1))
        past = list(whole.past_actions.clamp(-1.2, 1.2).unbind(1))
        taken = past + list((actions + futures.action_errors[: actions.shape[1], i]).clamp(-1.2, 1.2).unbind(1))
        for t in range(actions.shape[1]):
            window, blocks = torch.stack(states[-context:], 1), torch.stack(taken[t : t + context], 1)
            states.append(futures.model(window, blocks))
        visited.append(torch.stack(states[context - 1 :], 1))
    squares = (torch.stack(visited) - whole.goal[:, None, :3]).square().sum(-1)  # (samples, b, t+1)
    steps = squares * torch.tensor([0.3] * actions.shape[1] + [1.0]).double()
    if not averse:
        return steps.mean(0).sum(1)
    largest = steps.sort(dim=0, descending=True).values
    return ((largest[0] + 0.5 * largest[1]) / 1.5).sum(1)


# A planner that needs a sum of squares plans for the mean only.
every_case = pytest.mark.parametrize(
    ("row", "averse"),
    [
        pytest.param(row, averse, id=f"{row.name}-{row.variant}-{'cvar' if averse else 'mean'}")
        for row in ROWS
        for averse in (False, True)
        if row.any_objective or not averse
    ],
)


@every_case
@pytest.mark.parametrize("context", [1, 3])
def test_batch_seed_bounds_best_and_cost(row: Row, averse: bool, context: int):
    whole, seeds = problem(6, context, averse), [5, 6, 7, 8, 9, 10]
    found = plan(whole, row.planner, STEPS, seeds=seeds)
    assert toys.same(found, plan(whole, row.planner, STEPS, seeds=seeds)), "same seed, same plan"
    part = plan(toys.rows(whole, [4, 1]), row.planner, STEPS, seeds=[9, 6])
    for name in ("actions", "states", "cost"):
        torch.testing.assert_close(getattr(part, name), getattr(found, name)[[4, 1]], rtol=1e-6, atol=1e-6)
    assert (found.actions >= whole.low).all() and (found.actions <= whole.high).all()
    assert (found.trace.cost.diff(dim=0) <= 0).all() and (found.cost <= found.trace.cost[-1]).all()
    torch.testing.assert_close(found.cost, cost_by_hand(whole, found.actions, averse))


@every_case
def test_all_coordinates_times_a_factor(row: Row, averse: bool):
    first, second = (
        plan(problem(3, averse=averse, unit=unit), row.planner, Budget(steps=4), seeds=2) for unit in (1.0, 100.0)
    )
    torch.testing.assert_close(first.actions, second.actions, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first.cost, second.cost, rtol=1e-5, atol=1e-5)


class Faulty(toys.Nonlinear):
    """A model that predicts NaN from states whose first coordinate is large."""

    def forward(self, states, actions):
        return torch.where(states[:, -1, :1] > 50.0, torch.nan, super().forward(states, actions))


@every_case
def test_a_fault_stays_in_its_own_problem(row: Row, averse: bool):
    sound = problem(3, averse=averse, inner=Faulty())
    states = sound.states.clone()
    states[1, :, 0] = 60.0  # of the first sample
    found = plan(dataclasses.replace(sound, states=states), row.planner, STEPS, seeds=[1, 2, 3])
    others = plan(toys.rows(sound, [0, 2]), row.planner, STEPS, seeds=[1, 3])
    assert found.status[1] == Status.NONFINITE and torch.isfinite(found.actions).all()
    torch.testing.assert_close(found.actions[[0, 2]], others.actions, rtol=1e-6, atol=1e-6)
    assert torch.equal(found.status[[0, 2]], others.status)
