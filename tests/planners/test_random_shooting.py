"""Random shooting: uniform within the bounds, the best kept."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import toys
from grasp_planner import Budget, Markov, RandomShooting, plan


def drawn(low: tuple[float, float], high: tuple[float, float], steps: int = 1, seed: int = 1) -> list[torch.Tensor]:
    seen = []
    model = Markov(lambda s, a: (seen.append(a.clone()), s + 0.1 * a.sum(-1, keepdim=True))[1])
    problem = toys.problem(1, 1, model)
    problem = dataclasses.replace(problem, low=torch.tensor(low).double(), high=torch.tensor(high).double())
    plan(problem, RandomShooting(samples=8000), Budget(steps=steps), seeds=seed)
    return seen[1:]


def test_uniform_within_the_bounds():
    (actions,) = drawn((-1.0, 2.0), (3.0, 2.5))
    assert actions.shape == (8000, 2)
    unit = ((actions - torch.tensor([-1.0, 2.0])) / torch.tensor([4.0, 0.5])).sort(dim=0).values
    expected = (torch.arange(8000).double() + 0.5)[:, None] / 8000
    assert (unit - expected).abs().max() < 1.63 / 8000**0.5, "Kolmogorov-Smirnov, one in a hundred"
    assert abs(torch.corrcoef(actions.T)[0, 1].item()) < 0.03


def test_every_step_and_seed_draws_anew():
    first, second = drawn((-1.0, -1.0), (1.0, 1.0), steps=2)
    (other,) = drawn((-1.0, -1.0), (1.0, 1.0), seed=2)
    for a, b in ((first, second), (first, other)):
        assert abs(torch.corrcoef(torch.stack([a[:, 0], b[:, 0]]))[0, 1].item()) < 0.04
        assert not torch.isin(a, b).any()


def test_the_best_of_all_draws_is_the_plan():
    problem = toys.problem(3, 4)
    seen = []

    def watch(progress):
        seen.append(progress.best.actions if progress.state is None else progress.state.best)

    found = plan(problem, RandomShooting(samples=5), Budget(steps=6), seeds=1, callback=watch)
    costs = torch.stack([toys.cost_by_hand(problem, actions) for actions in seen])
    torch.testing.assert_close(found.cost, costs.amin(0))


@pytest.mark.parametrize("samples", [1, 2])
def test_one_sample_is_enough(samples):
    assert plan(toys.problem(2, 3), RandomShooting(samples=samples), Budget(steps=2)).steps == 2
