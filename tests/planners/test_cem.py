"""CEM: one step compared with numpy."""

from __future__ import annotations

import numpy
import pytest
import torch

import toys
from grasp_planner import CEM, GraspPlannerError, Markov
from grasp_planner.core.noise import Noise
from grasp_planner.planners.sampling import Gaussian, elites, fitted

BATCH, HORIZON, ACTION = 3, 4, 2


def draws(samples: int, noise: Noise) -> numpy.ndarray:
    """Return the normal numbers of a step, with zeros for candidate 0."""
    normal = noise.normal((samples - 1, HORIZON, ACTION), torch.float64).numpy()
    return numpy.concatenate([numpy.zeros((BATCH, 1, HORIZON, ACTION)), normal], axis=1)


@pytest.mark.parametrize("momentum", [0.0, 0.3])
@pytest.mark.parametrize("min_std", [0.0, 0.4])
def test_a_step_equals_numpy(momentum, min_std):
    problem = toys.problem(BATCH, HORIZON)
    planner = CEM(samples=20, elites=5, momentum=momentum, min_std=min_std)
    mean = 0.3 * toys.fixed(BATCH, HORIZON, ACTION, seed=1)
    std = toys.fixed(BATCH, HORIZON, ACTION, seed=2).abs()
    noise = Noise.of([4, 5, 6], BATCH).fold(3)
    state, scored = planner.step(problem, Gaussian(mean, std), noise)

    candidates = numpy.clip(mean.numpy()[:, None] + std.numpy()[:, None] * draws(20, noise), -1, 1)
    for i in range(BATCH):
        one = toys.rows(problem, [i] * 20)
        cost = toys.cost_by_hand(one, torch.from_numpy(candidates[i])).numpy()
        best = candidates[i][numpy.argsort(cost)[:5]]
        expected_mean = (1 - momentum) * best.mean(0) + momentum * mean[i].numpy()
        expected_std = (1 - momentum) * best.std(0) + momentum * std[i].numpy()
        numpy.testing.assert_allclose(state.mean[i].numpy(), expected_mean, rtol=1e-10, atol=1e-12)
        numpy.testing.assert_allclose(state.std[i].numpy(), numpy.maximum(expected_std, min_std), rtol=1e-9, atol=1e-12)
        numpy.testing.assert_allclose(scored.cost[i].item(), cost.min(), rtol=1e-12)
        numpy.testing.assert_array_equal(scored.actions[i].numpy(), candidates[i][cost.argmin()])


def test_it_starts_at_the_given_actions_with_the_given_deviation():
    given = toys.fixed(BATCH, HORIZON, ACTION, seed=1).clamp(-1, 1)
    state = CEM(std=0.7).init(toys.problem(BATCH, HORIZON), given, Noise.of(0, BATCH))
    assert torch.equal(state.mean, given) and (state.std == 0.7).all()


def test_the_mean_is_a_candidate():
    """With standard deviation 0, a step only evaluates the mean."""
    problem = toys.problem(BATCH, HORIZON)
    mean = 0.5 * toys.fixed(BATCH, HORIZON, ACTION, seed=1).clamp(-1, 1)
    state, scored = CEM(samples=4, elites=4).step(problem, Gaussian(mean, torch.zeros_like(mean)), Noise.of(0, BATCH))
    torch.testing.assert_close(state.mean, mean)
    assert torch.equal(state.std, torch.zeros_like(mean))
    torch.testing.assert_close(scored.cost, toys.cost_by_hand(problem, mean))


def test_elites_leave_out_what_is_not_finite_and_weigh_the_rest_equally():
    candidates = toys.fixed(2, 5, 1, 1, seed=1)
    cost = torch.tensor([[3.0, torch.inf, 1.0, torch.inf, 2.0], [torch.inf] * 4 + [1.0]], dtype=torch.float64)
    chosen, weights = elites(candidates, cost, 4)
    mean, std = fitted(toys.problem(2, 1, action=1, bound=9.0), chosen, weights)
    sound = candidates[0, [0, 2, 4]]
    torch.testing.assert_close(mean[0], sound.mean(0))
    torch.testing.assert_close(std[0], sound.std(0, correction=0))
    torch.testing.assert_close(mean[1], candidates[1, 4])
    assert std[1] == 0
    torch.testing.assert_close(weights.sum(1).flatten(), torch.ones(2, dtype=torch.float64))


def test_more_elites_than_sound_candidates_are_not_made_up():
    chosen, weights = elites(toys.fixed(1, 3, 2, 2, seed=1), torch.tensor([[1.0, 2.0, 3.0]]).double(), 10)
    assert chosen.shape == (1, 3, 2, 2)
    torch.testing.assert_close(weights.flatten(), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_candidates_spread_as_asked_before_the_bounds_cut_them():
    seen = []
    model = Markov(lambda s, a: (seen.append(a), s + 0.1 * a.sum(-1, keepdim=True))[1])
    problem = toys.problem(1, 1, model, bound=1e6)
    CEM(samples=5000, elites=5, std=0.5).step(
        problem, Gaussian(torch.ones(1, 1, 2).double(), torch.full((1, 1, 2), 0.5).double()), Noise.of(1, 1)
    )
    drawn = seen[0][1:]
    assert drawn.mean().item() == pytest.approx(1.0, abs=0.02) and drawn.std().item() == pytest.approx(0.5, rel=0.03)


def test_settings_that_contradict_each_other():
    with pytest.raises(GraspPlannerError, match=r"elites must be <= samples \(10\), got 11"):
        CEM(samples=10, elites=11)
    with pytest.raises(GraspPlannerError, match="momentum must be < 1"):
        CEM(momentum=1.0)
