"""ICEM: the colour of its noise, the kept elites, and the decreasing number of samples."""

from __future__ import annotations

import numpy
import pytest
import torch

import toys
from grasp_planner import ICEM, Budget, GraspPlannerError, Markov, plan
from grasp_planner.core.noise import Noise
from grasp_planner.planners.icem import coloured


def noise(beta: float, horizon: int, count: int = 6000) -> torch.Tensor:
    return coloured(Noise.of(3, 1).normal((count, horizon, 1), torch.float64), beta)[0, :, :, 0]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("horizon", [1, 2, 3, 16, 17])
def test_unit_variance_at_every_step(beta, horizon):
    drawn = noise(beta, horizon)
    assert drawn.shape == (6000, horizon) and drawn.dtype == torch.float64
    assert drawn.var(0) == pytest.approx(numpy.ones(horizon), rel=0.1)
    assert drawn.mean(0) == pytest.approx(numpy.zeros(horizon), abs=0.06)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("horizon", [32, 33])
def test_the_spectrum_falls_as_a_power_of_frequency(beta, horizon):
    power = numpy.abs(numpy.fft.rfft(noise(beta, horizon).numpy(), axis=1)) ** 2
    power = power.mean(0)[1:]
    frequency = numpy.arange(1, len(power) + 1)
    slope = numpy.polyfit(numpy.log(frequency), numpy.log(power), 1)[0]
    assert slope == pytest.approx(-beta, abs=0.05)
    assert numpy.allclose(power * frequency**beta / power[0], 1.0, rtol=0.15)


def test_white_noise_stays_as_it_is():
    white = Noise.of(3, 2).normal((4, 9, 2), torch.float64)
    torch.testing.assert_close(coloured(white, 0.0), white)


def test_redder_noise_is_more_alike_from_step_to_step():
    def alike(beta: float) -> float:
        drawn = noise(beta, 20)
        return (drawn[:, 1:] * drawn[:, :-1]).mean().item()

    assert abs(alike(0.0)) < 0.05 < alike(1.0) < alike(2.0) < alike(4.0)


def test_each_action_coordinate_and_candidate_is_coloured_by_itself():
    white = Noise.of(3, 2).normal((3, 8, 2), torch.float64)
    together = coloured(white, 2.0)
    torch.testing.assert_close(together[1:, 2:, :, 1:], coloured(white[1:, 2:, :, 1:], 2.0))


def watched(horizon: int, batch: int = 2):
    """Return a problem whose model stores the first actions of all candidates, and the candidates of each step."""
    seen = []
    inner = toys.Nonlinear()

    def step(state, action):
        seen.append(action.clone())
        return inner(state[:, None], action[:, None])

    return toys.problem(batch, horizon, Markov(step)), seen


def candidates(seen, horizon, call) -> torch.Tensor:
    """Return the candidates (b, n, t, a) of one batch of rollouts."""
    return torch.stack(seen[call * horizon : (call + 1) * horizon], dim=1).unflatten(0, (2, -1))


def test_kept_elites_are_rolled_out_again():
    problem, seen = watched(5)
    planner = ICEM(samples=20, elites=10, kept_share=0.3)
    states = []
    plan(problem, planner, Budget(steps=3), seeds=1, callback=lambda p: states.append(p.state))
    first, second, third = (candidates(seen, 5, call) for call in (1, 2, 3))
    assert first.shape[1] == 1 + 20 and second.shape[1] == third.shape[1] == 1 + 3 + 20
    for kept, again in ((states[1].kept, second), (states[2].kept, third)):
        assert kept.shape == (2, 3, 5, 2)
        assert torch.equal(again[:, 1:4], kept)
    # The kept elites are the best three of the earlier candidates, in order.
    for i in range(2):
        cost = toys.cost_by_hand(toys.rows(toys.problem(2, 5), [i] * 21), first[i])
        assert torch.equal(states[1].kept[i], first[i][cost.argsort()[:3]])


def test_nothing_is_kept_when_nothing_is_asked_to_be():
    problem, seen = watched(4)
    plan(problem, ICEM(samples=12, elites=4, kept_share=0.0), Budget(steps=2), seeds=1)
    assert candidates(seen, 4, 2).shape[1] == 13


def test_samples_decay_down_to_twice_the_elites():
    problem, seen = watched(3)
    plan(problem, ICEM(samples=40, elites=6, kept_share=0.0, decay=1.5), Budget(steps=6), seeds=1)
    counts = [rows.shape[0] // 2 - 1 for rows in seen[3::3]][:6]
    assert counts == [40, 26, 17, 12, 12, 12]


def test_a_step_equals_numpy():
    problem, seen = watched(6)
    planner = ICEM(samples=15, elites=5, momentum=0.2, min_std=0.05, noise_beta=1.0)
    states = []
    plan(problem, planner, Budget(steps=2), seeds=1, callback=lambda p: states.append(p.state))
    tried = candidates(seen, 6, 2)
    for i in range(2):
        cost = toys.cost_by_hand(toys.rows(toys.problem(2, 6), [i] * tried.shape[1]), tried[i])
        best = tried[i][cost.argsort()[:5]].numpy()
        mean = 0.8 * best.mean(0) + 0.2 * states[1].gaussian.mean[i].numpy()
        std = numpy.maximum(0.8 * best.std(0) + 0.2 * states[1].gaussian.std[i].numpy(), 0.05)
        numpy.testing.assert_allclose(states[2].gaussian.mean[i].numpy(), mean, rtol=1e-9, atol=1e-12)
        numpy.testing.assert_allclose(states[2].gaussian.std[i].numpy(), std, rtol=1e-9, atol=1e-12)


def test_settings_that_contradict_each_other():
    with pytest.raises(GraspPlannerError, match="elites must be <= samples"):
        ICEM(samples=10, elites=11)
    with pytest.raises(GraspPlannerError, match="momentum must be < 1"):
        ICEM(momentum=1.0)
    with pytest.raises(GraspPlannerError, match="kept_share must be a number from 0 to 1"):
        ICEM(kept_share=1.1)
    with pytest.raises(GraspPlannerError, match="decay must be a number >= 1"):
        ICEM(decay=0.9)
