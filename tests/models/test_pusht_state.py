"""The packaged Push-T models of states compared with the simulator, on pushes that are not in the training data."""

import numpy as np
import pytest
import torch

from grasp_planner.models import StateModel, load_world_model
from grasp_planner.training.state_learner import push_t_errors

pytest.importorskip("pymunk")
STEPS = 25


@pytest.fixture(scope="module", params=["pusht-state", "pusht-state-frameskip-1"])
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name) -> StateModel:
    model = load_world_model(name)
    assert isinstance(model, StateModel)
    return model


@pytest.fixture(scope="module")
def pushes():
    """Forty pushes at the centre of the block from all sides: states (n, t + 1, 7), actions (n, t, 2)."""
    from grasp_planner.domains.push_t.environment import PushT

    rng, env, paths, moves = np.random.default_rng(0), PushT(), [], []
    for _ in range(40):
        block, angle, side = rng.uniform(180, 330, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
        centre = block + 45 * np.array([-np.sin(angle), np.cos(angle)])
        towards = -np.array([np.cos(side), np.sin(side)])
        env.set_state(np.array([*(centre - 110 * towards), *block, angle, 0, 0]))
        actions = 0.15 * towards + rng.normal(0, 0.05, (STEPS, 2))
        path = [env.get_state()]
        for action in actions:
            env.step(action)
            path.append(env.get_state())
        paths.append(path)
        moves.append(actions)
    return torch.tensor(np.array(paths), dtype=torch.float32), torch.tensor(np.array(moves), dtype=torch.float32)


def predicted(model, states, actions):
    with torch.no_grad():
        start = model.encode({"state": states[:, :1]})[:, 0]
        return model.decode_state(model.path(start, model.model_actions(actions)))


def test_the_pusher_is_exact_whatever_it_does(model, pushes):
    states, actions = pushes
    errors = push_t_errors(predicted(model, states, actions), states[:, 1:])
    assert float(errors["pusher_px"].max()) < 0.01


def test_the_block_goes_where_it_is_pushed(model, pushes):
    states, actions = pushes
    moved = (states[:, -1, 2:4] - states[:, 0, 2:4]).norm(dim=-1)
    assert float(moved.median()) > 30, "the test needs pushes that move the block"
    errors = push_t_errors(predicted(model, states, actions), states[:, 1:])
    assert float(errors["block_px"][:, -1].median()) < 3.0
    assert float(errors["angle_deg"][:, -1].median()) < 3.0


def test_an_untouched_block_stays(model, pushes):
    states, _ = pushes
    away = (states[:, 0, :2] - states[:, 0, 2:4])[:, None]
    away = 0.1 * away / away.norm(dim=-1, keepdim=True)
    path = predicted(model, states, away.expand(-1, 50, -1))
    errors = push_t_errors(path, states[:, :1].expand(-1, 50, -1))
    assert float(errors["block_px"].max()) < 1.0 and float(errors["angle_deg"].max()) < 1.0


def test_steps_of_the_model_are_environment_steps_or_blocks_of_five(name, model, pushes):
    states, actions = pushes
    frameskip = {"pusht-state": 5, "pusht-state-frameskip-1": 1}[name]
    assert model.frameskip == frameskip and len(model.low) == 2 * frameskip
    blocks = model.model_actions(actions.unflatten(1, (-1, frameskip)))
    with torch.no_grad():
        latent = model.encode({"state": states[:, :1]})[:, 0]
        for block in blocks.unbind(1):
            latent = model(latent[:, None], block[:, None])
    assert torch.allclose(model.decode_state(latent)[:, :4], predicted(model, states, actions)[:, -1, :4], atol=1e-2)


def test_it_plans_in_single_and_double_precision_alike(name, model, pushes):
    states, actions = pushes
    double = load_world_model(name)
    assert isinstance(double, StateModel)
    one = predicted(model, states, actions)[:, :10]
    other = predicted(double.double(), states.double(), actions.double())[:, :10]
    assert other.dtype == torch.float64
    assert float(push_t_errors(one.double(), other)["block_px"].median()) < 1e-2
