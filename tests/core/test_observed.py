"""Problem.observed: from the observations of a world model to planning problems."""

from __future__ import annotations

import torch

import toys
from grasp_planner import GoalDistance, Problem


class World(toys.Remembering):
    """A world model of context 3 whose latents are three times the states."""

    frameskip = 1
    low, high = -torch.ones(2).double(), torch.ones(2).double()
    scale = torch.tensor([1.0, 2.0, 3.0]).double()

    def encode(self, observations):
        return 3.0 * observations["state"]


def test_observations_and_goals_are_encoded():
    model, seen, goal = World(), toys.fixed(4, 3, 3, seed=1), toys.fixed(4, 1, 3, seed=2)
    problem = Problem.observed(model, {"state": seen}, {"state": goal}, 5)
    assert torch.equal(problem.states, 3.0 * seen) and torch.equal(problem.goal, 3.0 * goal[:, 0])
    assert problem.horizon == 5 and problem.dynamics is model and torch.equal(problem.scale, model.scale)
    assert torch.equal(problem.low, model.low) and torch.equal(problem.high, model.high)
    assert not problem.past_actions.any() and problem.past_actions.shape == (4, 2, 2)


def test_a_single_moment_is_repeated():
    seen = toys.fixed(4, 1, 3, seed=1)
    problem = Problem.observed(World(), {"state": seen}, {"state": seen + 1.0}, 5)
    assert torch.equal(problem.states, 3.0 * seen.expand(-1, 3, -1))


def test_latents_are_taken_as_they_are():
    states, goal, past = toys.fixed(4, 3, 3, seed=1), toys.fixed(4, 3, seed=2), toys.fixed(4, 2, 2, seed=3)
    objective, other = GoalDistance(stage_weight=0.5), World()
    problem = Problem.observed(World(), states, goal, 5, past_actions=past, objective=objective, dynamics=other)
    assert torch.equal(problem.states, states) and torch.equal(problem.goal, goal)
    assert torch.equal(problem.past_actions, past)
    assert problem.objective is objective and problem.dynamics is other
