"""An agent with an objective of rewards needs no goal."""

from __future__ import annotations

import pytest
import torch
from driven import World, agent

import toys
from grasp_planner import GD, Budget, DiscountedReturn, GoalDistance, GraspPlannerError, Problem, TrustLaw

NEAR_ZERO = DiscountedReturn(lambda s, a: -s.square().sum(-1), lambda s: -s.square().sum(-1))


@pytest.mark.parametrize("batch", [None, 3])
def test_an_agent_needs_no_goal(batch):
    one = agent(batch=batch, objective=NEAR_ZERO, planner=GD(lr=0.1), budget=Budget(steps=10), trust=TrustLaw())
    other = agent(batch=batch, objective=NEAR_ZERO, planner=GD(lr=0.1), budget=Budget(steps=0))
    sizes = {}
    for driver in (one, other):
        world = World(driver, seed=1)
        for _ in range(4):
            actions = driver.act({"state": world.state if batch else world.state[0]})
            assert driver.report.sound and driver.plan is not None
            world.step(actions if batch else actions[None])
        sizes[driver] = float((world.state**2).sum())
    assert sizes[one] < sizes[other], "planning is better than idling"


def test_an_observation_that_is_late_or_missing():
    one = agent(objective=NEAR_ZERO, execute=2)
    world = World(one)
    one.act(world.observation())
    one.act(None)
    assert one.report.sound is False
    one.act(world.observation(), late=2)
    assert one.report.sound


def test_an_agent_with_a_goal_still_asks_for_it():
    for objective in (None, GoalDistance(stage_weight=0.1)):
        one = agent(objective=objective)
        with pytest.raises(GraspPlannerError, match="no goal yet"):
            one.act(World(one).observation())


def test_problems_from_observations_without_a_goal():
    seen = {"state": toys.fixed(2, 1, 3, seed=1)}
    problem = Problem.observed(agent().model, seen, None, 4, objective=NEAR_ZERO)
    assert torch.equal(problem.goal, problem.start) and torch.equal(problem.start, seen["state"][:, 0])
