"""The lifted loss: equation 10, its curvature, the initial line, and the gap."""

from __future__ import annotations

import pytest
import torch

import toys
from grasp_planner import GoalDistance, Markov
from grasp_planner.core.noise import Noise
from grasp_planner.planners.gap_sync import gap_deviation
from grasp_planner.planners.lifted import lifted_gradients, lifted_loss, straight_line


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_it_is_equation_ten(context, horizon):
    """sum_t |F(s_t, a_t) - s_{t+1}|^2 + gamma sum_t |F(s_t, a_t) - g|^2, with s_T = g."""
    model = toys.Nonlinear() if context == 1 else toys.Remembering(context)
    problem = toys.problem(2, horizon, model, scale=torch.ones(3, dtype=torch.float64))
    states, actions, gamma = toys.fixed(2, horizon - 1, 3, seed=1), toys.fixed(2, horizon, 2, seed=2), 0.7
    path = torch.cat([problem.states, states, problem.goal[:, None]], dim=1)
    taken = torch.cat([problem.past_actions, actions], dim=1)
    expected = torch.zeros(2, dtype=torch.float64)
    for t in range(horizon):
        predicted = model(path[:, t : t + context], taken[:, t : t + context])
        expected += (predicted - path[:, t + context]).square().sum(-1)
        expected += gamma * (predicted - problem.goal).square().sum(-1)
    for stop_gradient in (True, False):
        torch.testing.assert_close(lifted_loss(problem, states, actions, gamma, stop_gradient), expected)


def test_units_weights_and_stage_costs():
    objective = GoalDistance(weights=(1.0, 0.0, 2.0), stage_weight=0.3, effort=0.1)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    problem = toys.problem(2, 4, objective=objective, scale=scale)
    states, actions = toys.fixed(2, 3, 3, seed=1), toys.fixed(2, 4, 2, seed=2)
    predicted = problem.predict(torch.cat([problem.start[:, None], states], dim=1), actions)
    weights = torch.tensor(objective.weights, dtype=torch.float64)
    to_goal = (weights * ((predicted - problem.goal[:, None]) / scale).square()).sum(-1)
    expected = ((predicted[:, :-1] - states) / scale).square().sum((1, 2)) + to_goal[:, -1] + 0.7 * to_goal.sum(1)
    stages = (weights * ((problem.start - problem.goal) / scale).square()).sum(-1) + to_goal[:, :-1].sum(1)
    expected += 0.3 * stages + 0.1 * actions.square().sum((1, 2))
    torch.testing.assert_close(lifted_loss(problem.normalised(), states / scale, actions, 0.7, True), expected)


@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 2.0)])
@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_its_gradients_are_those_of_automatic_differentiation(weights, gamma, context, horizon, stop_gradient):
    model = toys.Nonlinear() if context == 1 else toys.Remembering(context)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    problem = toys.problem(2, horizon, model, objective=GoalDistance(weights=weights), scale=scale).normalised()
    states, actions = toys.fixed(2, horizon - 1, 3, seed=1), toys.fixed(2, horizon, 2, seed=2)
    found = lifted_gradients(problem, states, actions, gamma, stop_gradient)
    variables = states.requires_grad_(), actions.requires_grad_()
    expected = torch.autograd.grad(lifted_loss(problem, *variables, gamma, stop_gradient).sum(), variables)
    for ours, theirs in zip(found, expected, strict=True):
        assert not ours.requires_grad
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("fault", [torch.nan, torch.inf, 1e200])
@pytest.mark.parametrize("stage_weight", [0.0, 0.1])
def test_a_loss_that_is_not_finite_spoils_its_problem_alone(fault, stage_weight):
    """The faulty coordinate of a prediction does not depend on the actions, so their gradients are finite."""

    def step(state, action):
        first = torch.where(state[:, :1] > 5.0, fault, state[:, :1])
        return torch.cat([first, state[:, 1:] + action.tanh()], dim=1)

    ones = torch.ones(3, dtype=torch.float64)
    problem = toys.problem(3, 4, Markov(step), objective=GoalDistance(stage_weight=stage_weight), scale=ones)
    states, actions = toys.fixed(3, 3, 3, seed=1), toys.fixed(3, 4, 2, seed=2)
    _, healthy = lifted_gradients(problem.normalised(), states, actions, 0.1, True)
    states[1, 2, 0] = 6.0
    _, spoilt = lifted_gradients(problem.normalised(), states, actions, 0.1, True)
    assert torch.isfinite(healthy).all() and spoilt[1].isnan().all()
    torch.testing.assert_close(spoilt[[0, 2]], healthy[[0, 2]])


def curvature(function, *variables) -> float:
    """Return the largest eigenvalue of the Hessian."""
    sizes = [v.numel() for v in variables]

    def flat(x):
        parts = [part.reshape(v.shape) for part, v in zip(x.split(sizes), variables)]
        return function(*parts).sum()

    hessian = torch.autograd.functional.hessian(flat, torch.zeros(sum(sizes), dtype=torch.float64), vectorize=True)
    return torch.linalg.eigvalsh(hessian)[-1].item()


def relaxed(problem, gamma, states, actions):
    return lifted_loss(problem, states, actions, gamma, stop_gradient=False)


@pytest.mark.parametrize("radius", [0.9, 1.0, 1.2])
def test_its_curvature_does_not_grow_with_the_horizon(radius):
    """It is at most 2 (1 + |A| + |B|)^2 + 2 gamma (|A| + |B|)^2 at any T; that of shooting grows like radius^(2T)."""
    a, b = toys.matrices(4, 2, radius, seed=7)
    size_a, size_b = torch.linalg.matrix_norm(a, 2).item(), torch.linalg.matrix_norm(b, 2).item()
    one = torch.ones(4, dtype=torch.float64)
    lifted, shooting = {}, {}
    for horizon in (5, 10, 40):
        problem = toys.problem(1, horizon, toys.linear(4, 2, radius, seed=7), latent=4, scale=one, bound=1e9)
        states, actions = torch.zeros(1, horizon - 1, 4).double(), torch.zeros(1, horizon, 2).double()
        for gamma in (0.0, 0.5):
            lifted[horizon] = curvature(
                lambda s, x, p=problem, g=gamma: lifted_loss(p, s, x, g, False), states, actions
            )
            assert lifted[horizon] <= 2 * (1 + size_a + size_b) ** 2 + 2 * gamma * (size_a + size_b) ** 2
        shooting[horizon] = curvature(lambda x, p=problem: p.cost(p.rollout(x), x), actions)
    assert lifted[40] < 1.2 * lifted[5]
    growth = shooting[40] / shooting[5]
    assert growth > 0.1 * 1.2**70 if radius > 1 else growth > 4 if radius == 1 else growth < 2


def test_the_straight_line():
    problem = toys.problem(2, 5)
    line = straight_line(problem, 0.0, Noise.of(0, 2))
    assert line.shape == (2, 4, 3)
    for t in range(1, 5):
        torch.testing.assert_close(line[:, t - 1], problem.start + t / 5 * (problem.goal - problem.start))
    assert straight_line(toys.problem(2, 1), 0.3, Noise.of(0, 2)).shape == (2, 0, 3)


def test_noise_on_the_line_is_in_units_of_the_scale():
    scale = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    problem = toys.problem(1, 4000, scale=scale).normalised()
    away = straight_line(problem, 0.5, Noise.of(1, 1)) - straight_line(problem, 0.0, Noise.of(1, 1))
    torch.testing.assert_close((away * scale).std((0, 1)), 0.5 * scale, rtol=0.05, atol=0)


@pytest.mark.parametrize("context", [1, 3])
def test_the_gap_is_the_distance_to_the_rollout_at_each_step(context):
    problem = toys.problem(2, 4, toys.Remembering(context), scale=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
    states, actions = toys.fixed(2, 3, 3, seed=1), toys.fixed(2, 4, 2, seed=2)
    normal = problem.normalised()
    deviation = gap_deviation(normal, states / problem.scale, normal.rollout(actions))
    gap = ((toys.rollout_by_hand(problem, actions)[:, :-1] - states) / problem.scale).square().mean(-1)
    expected = torch.cat([gap.mean(1, keepdim=True), gap], dim=1).sqrt()
    assert deviation.shape == (2, 4, 1), "the same for every coordinate of an action"
    torch.testing.assert_close(deviation[:, :, 0], expected)
    on_the_rollout = gap_deviation(normal, normal.rollout(actions)[:, :-1], normal.rollout(actions))
    assert on_the_rollout.abs().max() < 1e-12


def test_the_gap_at_a_horizon_of_one_is_that_to_the_goal():
    problem = toys.problem(2, 1)
    actions = toys.fixed(2, 1, 2, seed=2)
    expected = ((toys.rollout_by_hand(problem, actions)[:, -1] - problem.goal) / problem.unit).square().mean(-1).sqrt()
    normal = problem.normalised()
    deviation = gap_deviation(normal, torch.zeros(2, 0, 3, dtype=torch.float64), normal.rollout(actions))
    torch.testing.assert_close(deviation, expected[:, None, None])
