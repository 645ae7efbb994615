"""GD: the loss that it descends, and the actions that it scores."""

from __future__ import annotations

import pytest
import torch

import toys
from grasp_planner import GD, Budget, GoalDistance, Markov, Problem, plan


def iterates(problem, planner, steps, **rest):
    seen = []

    def watch(progress):
        if progress.step > 0:
            seen.append(progress.state.actions)

    plan(problem, planner, Budget(steps=steps), callback=watch, **rest)
    return seen


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_its_steps_are_those_of_torch_on_the_rollout_cost(optimiser):
    problem = toys.problem(3, 5, objective=GoalDistance(stage_weight=0.2, effort=0.01), bound=100.0)
    actions = torch.zeros(3, 5, 2, dtype=torch.float64, requires_grad=True)
    reference = (
        torch.optim.Adam([actions], lr=0.03, eps=1e-12) if optimiser == "adam" else torch.optim.SGD([actions], lr=0.03)
    )
    for ours in iterates(problem, GD(lr=0.03, optimiser=optimiser), 12):
        reference.zero_grad()
        problem.cost(problem.rollout(actions), actions).sum().backward()
        reference.step()
        torch.testing.assert_close(ours, actions.detach(), rtol=1e-9, atol=1e-11)


def test_projected_onto_the_bounds_each_step():
    """The optimum for an unreachable goal lies on the bounds."""
    start, bound = torch.zeros(1, 2, dtype=torch.float64), torch.full((2,), 0.3, dtype=torch.float64)
    problem = Problem.between(Markov(lambda s, a: s + a), start, start + 100.0, 4, -bound, bound)
    found = plan(problem, GD(lr=0.1), Budget(steps=10))
    assert torch.equal(found.actions, torch.full_like(found.actions, 0.3))


def test_action_noise_has_the_deviation_that_was_asked_for_and_is_not_correlated():
    problem = toys.problem(1, 500, Markov(lambda s, a: s + 0.0 * a.sum(-1, keepdim=True)), bound=1e6)
    planner = GD(lr=0.1, action_noise=0.25)
    first, second, *_ = iterates(problem, planner, 2, seeds=1)
    increments = torch.stack([first, second - first])
    assert increments.std().item() == pytest.approx(0.25, rel=0.05)
    assert abs(increments.mean().item()) < 0.02
    assert abs(torch.corrcoef(increments.flatten(1))[0, 1].item()) < 0.1


def test_a_step_scores_the_actions_it_started_from_in_its_own_rollout():
    """A step makes only one rollout, so scoring needs no further model calls."""
    calls = []
    model = Markov(lambda s, a: (calls.append(s.shape[0]), s + 0.1 * a.sum(-1, keepdim=True))[1])
    found = plan(toys.problem(2, 5, model), GD(), Budget(steps=6))
    assert calls == [2] * 5 * (1 + 6 + 1) and found.transitions == 40
