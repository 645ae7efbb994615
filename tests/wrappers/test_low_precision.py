"""LowPrecision: the model to three digits, differentiable, while states and costs keep their precision."""

from __future__ import annotations

import pytest
import torch

import toys
from grasp_planner import GRASP, Budget, Chunked, GraspPlannerError, LowPrecision, load_world_model, plan
from grasp_planner.models import StateModel, StateModelConfig
from grasp_planner.wrappers.live_bytes import LiveBytes
from grasp_planner.wrappers.smoothable import smoothed


class Deep(torch.nn.Module):
    context = 1

    def __init__(self) -> None:
        super().__init__()
        layers = [layer for _ in range(4) for layer in (torch.nn.Linear(256, 256), torch.nn.SiLU())]
        self.net = torch.nn.Sequential(torch.nn.Linear(5, 256), *layers, torch.nn.Linear(256, 3)).requires_grad_(False)

    def forward(self, states, actions):
        return states[:, -1] + self.net(torch.cat([states[:, -1], actions[:, -1]], dim=1))


def test_answers_gradients_and_dtypes():
    model, states, actions = Deep(), torch.randn(50, 1, 3), torch.randn(50, 1, 2, requires_grad=True)
    found = []
    for dynamics in (LowPrecision(model), model):
        out = dynamics(states, actions)
        (gradient,) = torch.autograd.grad(out.sum(), actions)
        assert out.dtype == gradient.dtype == torch.float32
        found.append((out.detach(), gradient))
    for mine, theirs in zip(*found, strict=True):
        assert 0 < (mine - theirs).abs().max() < 0.05 * theirs.abs().max()


def test_it_takes_less_memory():
    model, states, actions = Deep(), torch.randn(2000, 1, 3), torch.randn(2000, 1, 2, requires_grad=True)
    peaks = []
    for dynamics in (LowPrecision(model), model):
        with LiveBytes() as memory:
            torch.autograd.grad(dynamics(states, actions).sum(), actions)
        peaks.append(memory.peak)
    assert peaks[0] < 0.7 * peaks[1]


def test_plans_keep_their_promises_and_pieces_go_with_it():
    problem = toys.problem(3, 5, Deep(), dtype=torch.float32)
    low = problem.through(LowPrecision(problem.dynamics))
    planner, budget = GRASP(sync_every=3, sync_steps=2), Budget(steps=6)
    first, again = (plan(low, planner, budget, seeds=1) for _ in range(2))
    assert toys.same(first, again) and (first.actions.abs() <= 1).all() and first.cost.dtype == torch.float32
    assert (first.trace.cost[1:] <= first.trace.cost[:-1]).all()
    pieces = plan(problem.through(Chunked(low.dynamics, rows=4)), planner, budget, seeds=1)
    torch.testing.assert_close(pieces.cost, first.cost, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("features", "experts"), [("push_t", 1), ("push_t", 3), ("push_t_diffusion", 1)])
def test_complex_numbers_of_push_t_keep_their_precision(features, experts):
    """There are no complex numbers in bfloat16."""
    substeps = 5 if features == "push_t" else 1
    config = StateModelConfig(7, 2, features=features, substeps=substeps, width=16, depth=2, octaves=0, experts=experts)
    model = StateModel(config)
    states = model.encode({"state": 200 + 50 * torch.rand(6, 1, 7)})
    actions = torch.randn(6, 1, 10, requires_grad=True)
    for amount in (0.0, 1.0):
        found = smoothed(LowPrecision(model), amount)(states, actions)
        torch.testing.assert_close(found, smoothed(model, amount)(states, actions), rtol=0.05, atol=0.05)
        (gradient,) = torch.autograd.grad(found.sum(), actions)
        assert found.dtype == torch.float32 and gradient.isfinite().all()


@pytest.mark.parametrize("name", ["pusht-state", "wall-state", "pusht-pixels", "wall-pixels"])
def test_packaged_models(name):
    model = load_world_model(name)
    noise = torch.Generator().manual_seed(0)
    states = model.scale * torch.randn(16, model.context, len(model.scale), generator=noise)
    actions = torch.randn(16, model.context, len(model.low), generator=noise)
    found, exact = LowPrecision(model)(states, actions), model(states, actions)
    assert found.dtype == torch.float32
    assert float(((found - exact) / model.scale).square().mean().sqrt()) < 0.1


def test_other_dtypes_are_refused():
    with pytest.raises(GraspPlannerError, match=r"must be torch.bfloat16 or torch.float16, got torch.float64"):
        LowPrecision(Deep(), torch.float64)
