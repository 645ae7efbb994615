"""The compiled BallNav of the benchmarks gives the model's numbers and gradients."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from grasp_planner.domains.ball_nav.physics import MAPS, SIZE
from grasp_planner.models.ball_nav import BallNav

SOURCE = Path(__file__).parents[2] / "benchmarks" / "ball_nav_fast.py"
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler, cc")


@pytest.fixture(scope="module")
def fast():
    spec = importlib.util.spec_from_file_location("ball_nav_fast", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FastBallNav


def step_and_gradients(dynamics, state, action, weight):
    state, action = state.clone().requires_grad_(), action.clone().requires_grad_()
    after = dynamics(state, action)
    return after.detach(), *torch.autograd.grad((weight * after).sum(), (state, action))


@pytest.mark.parametrize("map", MAPS)
@pytest.mark.parametrize("frameskip", [1, 5])
def test_compiled_and_model_agree(fast, map, frameskip):
    """The dynamics agree everywhere, also where only virtual states are."""
    rng = np.random.default_rng(0)
    model = BallNav(map, frameskip=frameskip)
    state = torch.from_numpy(rng.uniform(-2, SIZE + 2, (2000, 1, 2)))
    action = torch.from_numpy(rng.uniform(-1, 1, (2000, 1, 2 * frameskip)))
    weight = torch.from_numpy(rng.standard_normal((2000, 2)))
    for one, other in zip(*(step_and_gradients(f, state, action, weight) for f in (model, fast(model))), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def test_numbers_of_single_precision_stay_so(fast):
    model = BallNav(dtype=torch.float32)
    state, action = torch.full((3, 1, 2), 4.2), torch.full((3, 1, 10), 0.5)
    assert fast(model)(state, action).dtype == torch.float32
    assert torch.allclose(fast(model)(state, action), model(state, action), atol=1e-5)
