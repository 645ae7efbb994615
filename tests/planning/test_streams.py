"""No two draws of a run share a stream, for any combination of planners."""

from __future__ import annotations

import pytest
import torch

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Budget,
    GaussNewton,
    LatCo,
    MultiStart,
    RandomShooting,
    Sequential,
    plan,
)
from grasp_planner.core.noise import Noise

NOISY = GRASP(sync=CEM(samples=6, elites=2), sync_every=3, sync_steps=2, gap_std=1.0, initial_noise=0.3)
PLANNERS = [
    NOISY,
    MultiStart(NOISY, starts=4, start_std=0.5),
    MultiStart(MultiStart(GD(action_noise=0.1), starts=2), starts=3),
    GRASP(sync=GRASP(sync=MultiStart(GD(action_noise=0.1), starts=2), initial_noise=0.1), initial_noise=0.1),
    Sequential(MultiStart(NOISY, starts=2), MultiStart(ICEM(samples=5, elites=2), starts=2), share=0.4),
    Sequential(RandomShooting(samples=3), MultiStart(LatCo(initial_noise=0.2), starts=3), share=0.5),
    MultiStart(GaussNewton(products=2), starts=4, restart_every=3, kick_std=0.2, noise_beta=1.0),
    MultiStart(MultiStart(GD(), starts=2, restart_every=2, kick_std=0.1), starts=2, restart_every=5, kick_std=0.1),
    MultiStart(Sequential(MPPI(samples=4), GRASP(initial_noise=0.1), share=0.5), starts=2),
]


@pytest.mark.parametrize("planner", PLANNERS)
def test_no_two_draws_share_a_stream(planner, monkeypatch):
    drawn: list[int] = []
    for name in ("normal", "uniform"):

        def watched(self, shape, dtype, original=getattr(Noise, name)):
            drawn.extend(self.seeds.tolist())
            return original(self, shape, dtype)

        monkeypatch.setattr(Noise, name, watched)
    problem = toys.problem(3, 4)
    found = plan(problem, planner, Budget(steps=30), seeds=[1, 2, 3])
    plan(problem, planner, Budget(steps=10), seeds=[1, 2, 3], warm_start=found.warm_start)
    assert len(drawn) > 50 and len(set(drawn)) == len(drawn)


def test_consecutive_seeds_share_no_stream():
    """Seeds and steps that add up to the same number do not share a stream, either."""
    seen = [Noise.of(seed, 1).fold(step).seeds.item() for seed in range(-50, 50) for step in range(-2, 50)]
    seen += [Noise.of(seed, 1).seeds.item() for seed in range(-50, 50)]
    seen += Noise.of(range(50), 50).repeat(20).seeds.tolist()
    assert len(set(seen)) == len(seen)


def test_a_number_for_each_problem():
    noise = Noise.of([3, 4, 4], 3)
    folded = noise.fold(torch.tensor([7, 7, -2]))
    assert folded.seeds.tolist() == [
        Noise.of(3, 1).fold(7).seeds.item(),
        Noise.of(4, 1).fold(7).seeds.item(),
        Noise.of(4, 1).fold(-2).seeds.item(),
    ]
