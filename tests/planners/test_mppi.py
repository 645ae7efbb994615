"""MPPI: its weights at both limits and in between, and one step compared with numpy."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toys
from grasp_planner import MPPI
from grasp_planner.core.noise import Noise
from grasp_planner.planners.mppi import path_weights
from grasp_planner.planners.sampling import Gaussian


def costs(seed: int = 1) -> torch.Tensor:
    return toys.fixed(3, 8, seed=seed).square() + 1.0


@given(seed=st.integers(0, 1000), temperature=st.floats(0.0, 1e12))
def test_weights_sum_to_one_and_fall_with_cost(seed, temperature):
    cost = costs(seed)
    weights = path_weights(cost, temperature)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))
    assert (weights >= 0).all()
    ordered = weights.gather(1, cost.argsort(1))
    assert (ordered.diff(dim=1) <= 1e-15).all()


def test_at_temperature_zero_the_best_takes_all():
    cost = costs()
    expected = torch.nn.functional.one_hot(cost.argmin(1), 8).double()
    torch.testing.assert_close(path_weights(cost, 0.0), expected, rtol=0, atol=0)
    torch.testing.assert_close(path_weights(cost, 1e-300), expected, rtol=0, atol=0)


def test_at_temperature_zero_equals_share():
    cost = torch.tensor([[2.0, 1.0, 1.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(path_weights(cost, 0.0), torch.tensor([[0.0, 0.5, 0.5, 0.0]], dtype=torch.float64))


def test_at_a_large_temperature_all_count_the_same():
    torch.testing.assert_close(path_weights(costs(), 1e12), torch.full((3, 8), 1 / 8, dtype=torch.float64))


def test_all_costs_equal():
    for temperature in (0.0, 0.1, 1e9):
        weights = path_weights(torch.full((2, 5), 3.0, dtype=torch.float64), temperature)
        torch.testing.assert_close(weights, torch.full((2, 5), 0.2, dtype=torch.float64))


def test_the_formula():
    cost = costs().numpy()
    excess = cost - cost.min(1, keepdims=True)
    expected = numpy.exp(-excess / (0.3 * excess.mean(1, keepdims=True)))
    expected /= expected.sum(1, keepdims=True)
    numpy.testing.assert_allclose(path_weights(costs(), 0.3).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_neither_size_nor_offset_of_the_cost_matters(factor, offset):
    torch.testing.assert_close(path_weights(factor * costs() + offset * factor, 0.2), path_weights(costs(), 0.2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [torch.inf, torch.nan, -torch.inf])
def test_what_is_not_finite_has_no_weight_and_does_not_change_the_others(dtype, bad):
    cost = costs().to(dtype)
    spoilt = torch.cat([cost, torch.full((3, 2), bad, dtype=dtype)], dim=1)
    weights = path_weights(spoilt, 0.2)
    assert (weights[:, 8:] == 0).all()
    torch.testing.assert_close(weights[:, :8], path_weights(cost, 0.2))
    assert (path_weights(torch.full((1, 4), bad, dtype=dtype), 0.2) == 0).all()


@pytest.mark.parametrize("refit", [True, False])
def test_a_step_equals_numpy(refit):
    problem = toys.problem(3, 4)
    planner = MPPI(samples=20, temperature=0.3, refit_std=refit, min_std=0.1)
    mean, std = 0.3 * toys.fixed(3, 4, 2, seed=1), toys.fixed(3, 4, 2, seed=2).abs()
    noise = Noise.of([4, 5, 6], 3).fold(3)
    state, scored = planner.step(problem, Gaussian(mean, std), noise)
    normal = noise.normal((19, 4, 2), torch.float64).numpy()
    normal = numpy.concatenate([numpy.zeros((3, 1, 4, 2)), normal], axis=1)
    tried = numpy.clip(mean.numpy()[:, None] + std.numpy()[:, None] * normal, -1, 1)
    for i in range(3):
        cost = toys.cost_by_hand(toys.rows(problem, [i] * 20), torch.from_numpy(tried[i])).numpy()
        weight = numpy.exp(-(cost - cost.min()) / (0.3 * (cost - cost.min()).mean()))
        weight /= weight.sum()
        expected = numpy.einsum("n,nta->ta", weight, tried[i])
        spread = numpy.sqrt(numpy.einsum("n,nta->ta", weight, (tried[i] - expected) ** 2))
        numpy.testing.assert_allclose(state.mean[i].numpy(), expected, rtol=1e-9, atol=1e-12)
        numpy.testing.assert_allclose(
            state.std[i].numpy(), numpy.maximum(spread, 0.1) if refit else std[i].numpy(), rtol=1e-9, atol=1e-12
        )
        assert scored.cost[i].item() == pytest.approx(cost.min())
