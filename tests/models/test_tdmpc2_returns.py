"""TD-MPC2 plans with its own reward, Q ensemble and policy: costs and policy as theirs, and wrong models."""

from __future__ import annotations

import foreign_swm as swm
import pytest
import torch
from foreign_swm import BLOCK
from swm_problems import UNITS, information, lively
from torch import nn

from grasp_planner import GD, MPPI, Budget, GraspPlannerError, Problem, plan
from grasp_planner.models import UseSettings, from_stable_worldmodel, policy_actions, tdmpc2_return


def asked(theirs: nn.Module, horizon: int = 5, uncertainty: float = 0.5):
    """Return the world model around a TD-MPC2 model, and problems without a goal."""
    model = from_stable_worldmodel(theirs, UNITS, 3, kind="TDMPC2", use=UseSettings(scale=0.3))
    seen = {"state": information(4)["state"]}
    return model, Problem.observed(model, seen, None, horizon, objective=tdmpc2_return(model, uncertainty))


@pytest.mark.parametrize("uncertainty", [0.0, 0.5])
def test_the_cost_is_theirs(uncertainty):
    theirs = lively(swm.TDMPC2WithHeads()).eval()
    _, problem = asked(theirs, uncertainty=uncertainty)
    actions = torch.randn(4, 5, BLOCK)
    with torch.no_grad():
        expected = theirs.cost_of(theirs.encode(information(4))[:, 0], actions, uncertainty)
        torch.testing.assert_close(problem.cost(problem.rollout(actions), actions), expected, rtol=1e-4, atol=1e-5)


def test_an_ensemble_of_one_does_not_disagree():
    theirs = lively(swm.TDMPC2WithHeads(ensemble=1)).eval()
    costs = []
    for uncertainty in (0.0, 5.0):
        _, problem = asked(theirs, uncertainty=uncertainty)
        costs.append(problem.cost(problem.rollout(torch.ones(4, 5, BLOCK)), torch.ones(4, 5, BLOCK)))
    assert torch.equal(*costs) and torch.isfinite(costs[0]).all()


def test_the_policy_is_rolled_out_and_is_the_first_candidate():
    theirs = lively(swm.TDMPC2WithHeads())
    model, problem = asked(theirs)
    first = policy_actions(model, problem)
    with torch.no_grad():
        z = theirs.encode(information(4))[:, 0]
        for t in range(5):
            action = torch.tanh(theirs.pi(z)[:, :BLOCK])
            torch.testing.assert_close(first[:, t], action, rtol=1e-4, atol=1e-5)
            z = theirs.dynamics(torch.cat([z, action], dim=-1))
    cost = problem.cost(problem.rollout(first), first)
    for planner in (MPPI(samples=8, std=0.1), GD(lr=0.01)):
        found = plan(problem, planner, Budget(steps=5), seeds=1, warm_start=first)
        torch.testing.assert_close(found.trace.cost[0], cost)
        assert (found.cost < cost).all()


def test_the_policy_respects_the_bounds():
    use = UseSettings(bounds=(-0.01, 0.01))
    model = from_stable_worldmodel(lively(swm.TDMPC2WithHeads()), UNITS, 3, kind="TDMPC2", use=use)
    seen = {"state": information(4)["state"]}
    problem = Problem.observed(model, seen, None, 3, objective=tdmpc2_return(model))
    first = policy_actions(model, problem)
    assert torch.equal(first, problem.clamp(first)) and first.shape == (4, 3, BLOCK)


class Headless(swm.TDMPC2):
    """A model that was trained without values."""


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (swm.LeWM(), "need a TD-MPC2 model, got LeWM"),
        (Headless(), "Headless must have pi"),
    ],
)
def test_models_without_rewards_and_values(theirs, words):
    model = from_stable_worldmodel(theirs, UNITS, 3, kind="LeWM" if isinstance(theirs, swm.LeWM) else "TDMPC2")
    with pytest.raises(GraspPlannerError, match=words):
        tdmpc2_return(model)


@pytest.mark.parametrize("settings", [{"uncertainty": -1.0}, {"discount": 1.5}])
def test_numbers_out_of_range(settings):
    model, _ = asked(lively(swm.TDMPC2WithHeads()))
    with pytest.raises(GraspPlannerError, match="must be a number"):
        tdmpc2_return(model, **settings)
