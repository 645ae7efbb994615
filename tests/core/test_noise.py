"""Noise: statistics, independence of streams, shapes, dtypes, and invalid seeds."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grasp_planner import GraspPlannerError
from grasp_planner.core import noise as noise_module
from grasp_planner.core.noise import Noise

COUNT = 200_000


def kolmogorov(drawn: torch.Tensor, distribution) -> float:
    """Return the Kolmogorov-Smirnov distance between samples and a distribution, times the root of the count."""
    ordered = drawn.double().flatten().sort().values
    count = len(ordered)
    wanted = distribution(ordered)
    steps = torch.arange(count + 1, dtype=torch.float64) / count
    return max((steps[1:] - wanted).max().item(), (wanted - steps[:-1]).max().item()) * count**0.5


def normal_cdf(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63, 123456789])
def test_normal_numbers_are_normal(seed):
    drawn = Noise.of(seed, 1).normal((COUNT,), torch.float64)
    assert kolmogorov(drawn, normal_cdf) < 1.95, "one in a thousand"
    assert abs(drawn.mean().item()) < 4 / COUNT**0.5
    assert abs(drawn.var().item() - 1) < 4 * (2 / COUNT) ** 0.5
    assert abs((drawn**3).mean().item()) < 4 * (15 / COUNT) ** 0.5
    assert abs((drawn**4).mean().item() - 3) < 4 * (96 / COUNT) ** 0.5
    assert torch.isfinite(drawn).all() and drawn.abs().max() > 4


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63, 123456789])
def test_uniform_numbers_are_uniform(seed):
    drawn = Noise.of(seed, 1).uniform((COUNT,), torch.float64)
    assert kolmogorov(drawn, lambda x: x) < 1.95
    assert 0 < drawn.min() < 1e-4 and 1 - 1e-4 < drawn.max() < 1


def streams() -> dict[str, torch.Tensor]:
    """Return samples of streams that must be independent, by name."""
    base = Noise.of(7, 1)
    made = {f"seed {seed}": Noise.of(seed, 1) for seed in (0, 1, 2, 3, 8, -7, 2**32 + 7, 2**62)}
    made |= {f"fold {k}": base.fold(k) for k in (-3, -2, -1, 0, 1, 2, 1000)}
    made |= {"fold 0 fold 1": base.fold(0).fold(1), "fold 1 fold 0": base.fold(1).fold(0), "itself": base}
    made |= {"fold 0 fold 0": base.fold(0).fold(0), "seed 8 fold 0": Noise.of(8, 1).fold(0)}
    return {name: noise.normal((20_000,), torch.float64)[0] for name, noise in made.items()}


def test_streams_are_independent():
    drawn = torch.stack(list(streams().values()))
    for one in (drawn, drawn.abs(), drawn.sign()):
        correlation = torch.corrcoef(one) - torch.eye(len(one))
        assert correlation.abs().max() < 5 / 20_000**0.5
    assert len(torch.unique(drawn)) == drawn.numel(), "no number twice"


def test_numbers_of_a_stream_are_independent():
    drawn = Noise.of(3, 1).normal((COUNT,), torch.float64)[0]
    for lag in (1, 2, 3, 10, 64, COUNT // 2, COUNT // 2 - 1):
        for one in (drawn, drawn.abs() - drawn.abs().mean()):
            assert abs((one[lag:] * one[:-lag]).mean().item()) < 5 / (COUNT - lag) ** 0.5


def test_neighbouring_seeds_at_one_place_are_independent():
    """The first numbers of the streams of neighbouring seeds are as random as the numbers of one stream."""
    drawn = Noise.of(range(20_000), 20_000).normal((3,), torch.float64)
    for place in range(3):
        assert kolmogorov(drawn[:, place], normal_cdf) < 1.95
    assert (torch.corrcoef(drawn.T) - torch.eye(3)).abs().max() < 5 / 20_000**0.5
    assert abs((drawn[1:, 0] * drawn[:-1, 0]).mean().item()) < 5 / 20_000**0.5


@given(seeds=st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=6), data=st.data())
def test_a_stream_is_its_seed_whatever_stands_beside_it(seeds, data):
    together = Noise.of(seeds, len(seeds)).fold(3)
    place = data.draw(st.integers(0, len(seeds) - 1))
    alone = Noise.of([seeds[place]], 1).fold(3)
    for shape in ((5,), (2, 3), (1,)):
        assert torch.equal(together.normal(shape, torch.float64)[place], alone.normal(shape, torch.float64)[0])
        assert torch.equal(together.uniform(shape, torch.float64)[place], alone.uniform(shape, torch.float64)[0])
    assert torch.equal(together.repeat(3).seeds.reshape(-1, 3)[place], alone.repeat(3).seeds)


def test_the_first_of_many_candidates_is_the_only_one_of_one():
    noise = Noise.of([4, 5], 2)
    assert torch.equal(noise.repeat(4).seeds.reshape(2, 4)[:, :2], noise.repeat(2).seeds.reshape(2, 2))
    assert len(torch.unique(noise.repeat(50).seeds)) == 100


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (), (1,), (7,), (2, 3, 5)])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shapes_and_dtypes(shape, kind, dtype):
    drawn = getattr(Noise.of(1, 3), kind)(shape, dtype)
    assert drawn.shape == (3, *shape) and drawn.dtype == dtype
    assert torch.isfinite(drawn).all()
    assert torch.equal(drawn, getattr(Noise.of(1, 3), kind)(shape, torch.float64).to(dtype))
    if kind == "uniform" and drawn.numel():
        assert drawn.min() >= 0 and drawn.max() <= 1


def test_drawing_twice_gives_the_same():
    noise = Noise.of(1, 2)
    assert torch.equal(noise.normal((5,), torch.float64), noise.normal((5,), torch.float64))


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (0, 4), (700,), (3000,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_streams_of_steps_are_the_folds(first, shape, dtype):
    """Whether numbers of later steps are drawn at once depends on their count, and is not seen."""
    noise = Noise.of([3, 4, -5], 3)
    for number, step in zip(range(first, first + 40), noise.steps(first)):
        alone = noise.fold(number)
        assert torch.equal(step.seeds, alone.seeds)
        assert torch.equal(step.fold(2).normal(shape, dtype), alone.fold(2).normal(shape, dtype))
        if number % 3:
            drawn = step.normal(shape, dtype)
            assert torch.equal(drawn, alone.normal(shape, dtype))
            drawn.zero_()  # may be written to
            assert torch.equal(step.normal(shape, dtype), alone.normal(shape, dtype)), "drawn again"
            assert torch.equal(step.normal((3,), dtype), alone.normal((3,), dtype))


def test_few_numbers_are_drawn_at_once_for_several_steps(monkeypatch):
    drawn: list[int] = []

    def watched(seeds, shape, dtype, original=noise_module._normal):
        drawn.append(len(seeds))
        return original(seeds, shape, dtype)

    monkeypatch.setattr(noise_module, "_normal", watched)
    for shape in ((9, 8), (3000,)):
        for _, step in zip(range(32), Noise.of(0, 2).steps(0)):
            step.normal(shape, torch.float32)
    assert drawn == [32, 32] + [2] * 32


def test_every_way_to_write_seeds():
    expected = Noise.of([5, 5], 2).seeds
    for seeds in (
        5,
        (5, 5),
        torch.tensor([5, 5]),
        torch.tensor(5),
        numpy.int32(5),
        numpy.array([5, 5]),
        [numpy.int64(5), 5],
    ):
        assert torch.equal(Noise.of(seeds, 2).seeds, expected)
    assert torch.equal(Noise.of(None, 2).seeds, Noise.of(0, 2).seeds)
    assert torch.equal(Noise.of(2**64 + 5, 2).seeds, expected), "seeds count modulo 2^64"
    assert torch.equal(Noise.of(torch.tensor([5, 5], dtype=torch.uint8), 2).seeds, expected)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([1, 2, 3], r"needed one integer for all problems or 2 \(one a problem\), got 3"),
        ([], "got 0"),
        ([1], "got 1"),
        (1.5, "must be integers.*1.5"),
        ([1, 2.0], "must be integers"),
        ("12", "must be integers"),
        (torch.tensor([1.0, 2.0]), "must be integers"),
        (torch.tensor([[1, 2]]), "must be integers"),
        (numpy.array([1.0, 2.0]), "must be integers"),
        ([None, 1], "must be integers"),
        (object(), "must be integers"),
    ],
)
def test_bad_seeds(seeds, message):
    with pytest.raises(GraspPlannerError, match=f"(?s)seeds.*{message}"):
        Noise.of(seeds, 2)
