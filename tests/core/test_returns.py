"""DiscountedReturn: the value of the infinite horizon, objectives around it, missing goals and wrong settings."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    Budget,
    Constrained,
    DiscountedReturn,
    GoalDistance,
    GraspPlannerError,
    LatCo,
    Margin,
    Markov,
    Problem,
    TrustLaw,
    always,
    diagnose,
    plan,
)
from grasp_planner.models import Cautious


def quadratic(states, actions):
    return -states.square().sum(-1) - actions.square().sum(-1)


def regulator(gamma: float = 0.9) -> tuple[float, float]:
    """Return p and k of the infinite horizon with s' = s + a: V(s) = -p s^2, and the best action is -k s.

    V(s) = max_a -s^2 - a^2 + gamma V(s + a).
    """
    p = 0.0
    for _ in range(1000):
        p = 1.0 + gamma * p / (1.0 + gamma * p)
    return p, gamma * p / (1.0 + gamma * p)


def regulated(horizon: int, value) -> Problem:
    start = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    objective = DiscountedReturn(quadratic, value, 0.9)
    return Problem.between(Markov(lambda s, a: s + a), start, None, horizon, -5.0, 5.0, objective=objective)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize(
    ("planner", "steps", "tolerance"),
    [
        (GD(lr=0.02), 500, 1e-4),
        (CEM(samples=128, elites=16), 60, 2e-3),
        (LatCo(dual_rate=0.1, action_lr=0.02, state_lr=0.02), 1500, 1e-2),
        (GRASP(sync=GD(lr=0.02), sync_every=5, sync_steps=200), 420, 1e-4),
    ],
    ids=["gd", "cem", "latco", "grasp"],
)
def test_with_the_exact_value_a_short_horizon_is_as_good_as_an_infinite_one(planner, steps, tolerance, horizon):
    p, k = regulator()
    problem = regulated(horizon, lambda states: -p * states.square().sum(-1))
    found = plan(problem, planner, Budget(steps=steps), seeds=1)
    torch.testing.assert_close(found.cost, p * problem.start[:, 0].square(), rtol=tolerance, atol=0)
    torch.testing.assert_close(found.actions[:, 0], -k * problem.start, rtol=3 * tolerance**0.5, atol=0)


def test_without_a_value_the_last_step_does_nothing():
    found = plan(regulated(3, None), GD(lr=0.02), Budget(steps=500))
    _, k = regulator()
    torch.testing.assert_close(found.actions[:, -1], torch.zeros(2, 1).double(), rtol=0, atol=1e-4)
    assert (found.actions[:, 0].abs() < k * regulated(3, None).start.abs()).all()


def test_the_start_takes_the_place_of_a_missing_goal():
    problem = regulated(3, None)
    assert torch.equal(problem.goal, problem.start)
    assert torch.equal(problem.unit, problem.start.abs())
    given = dataclasses.replace(problem, goal=torch.zeros(2, 1).double())
    assert torch.equal(given.goal, torch.zeros(2, 1).double())


def test_a_goal_that_is_needed_is_asked_for():
    start = torch.zeros(1, 2)
    for objective, name in ((None, "GoalDistance"), (Cautious(GoalDistance()), "Cautious")):
        with pytest.raises(GraspPlannerError, match=f"{name} needs a goal: pass goal=, or an objective of rewards"):
            Problem.between(Markov(lambda s, a: s), start, None, 3, -1.0, 1.0, objective=objective)
    with pytest.raises(GraspPlannerError, match=r"states must be \(b, h, s\)"):
        Problem(
            toys.Nonlinear(),
            torch.zeros(2, 3),
            torch.zeros(2, 0, 2),
            None,  # type: ignore[arg-type]
            3,
            -torch.ones(2),
            torch.ones(2),
            DiscountedReturn(quadratic),
        )


def test_objectives_around_a_return_keep_its_units_and_its_discount():
    inner = DiscountedReturn(quadratic, lambda states: 2.0 * states[..., 0], 0.8)
    below = always(Margin(lambda states, actions: 1e9 + 0.0 * states[..., 0]))
    whole = toys.problem(3, 4, objective=inner, scale=torch.tensor([2.0, 3.0, 0.5]).double())
    actions = 0.4 * toys.fixed(3, 4, 2, seed=3)
    states = whole.rollout(actions)
    path = torch.cat([whole.start[:, None], states], dim=1)
    powers = 0.8 ** torch.arange(5).double()
    expected = -(powers[:-1] * quadratic(path[:, :-1], actions)).sum(1) - powers[-1] * 2.0 * states[:, -1, 0]
    torch.testing.assert_close(whole.cost(states, actions), expected)
    torch.testing.assert_close(whole.under(Constrained(inner, below)).cost(states, actions), expected)
    unsure = (powers * path[..., -1]).sum(1)
    torch.testing.assert_close(whole.under(Cautious(inner, 3.0)).cost(states, actions), expected + 3.0 * unsure)


def test_a_diagnosis_needs_no_goal():
    problem = regulated(3, None)
    told = diagnose(problem, plan(problem, GRASP(sync_every=2, sync_steps=2), Budget(steps=7)), TrustLaw())
    assert told.gap is not None and told.gap.shape == (2, 2) and told.error.shape == (2, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reward": 3.0}, r"DiscountedReturn.reward must be a function, got 3.0"),
        ({"reward": quadratic, "value": 3.0}, r"DiscountedReturn.value must be a function, got 3.0"),
        ({"reward": quadratic, "discount": 1.1}, r"DiscountedReturn.discount must be a number from 0 to 1, got 1.1"),
        ({"reward": quadratic, "discount": None}, r"DiscountedReturn.discount must be a number"),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(GraspPlannerError, match=words):
        DiscountedReturn(**settings)


@pytest.mark.parametrize(
    ("reward", "value", "part"),
    [
        (lambda s, a: quadratic(s, a)[..., None], None, "stage"),
        (lambda s, a: quadratic(s, a).sum(), None, "stage"),
        (quadratic, lambda s: s, "terminal"),
        (quadratic, lambda s: s[..., 0].float(), "terminal"),
    ],
)
def test_a_reward_or_value_of_the_wrong_shape(reward, value, part):
    whole = toys.problem(2, 3, objective=DiscountedReturn(reward, value))
    with pytest.raises(GraspPlannerError, match=f"objective.{part} was given states .* and must return"):
        plan(whole, GD(), Budget(steps=1))
