"""The packaged pixel models: the claims of their model cards, on few episodes."""

import numpy as np
import pytest
import torch

from grasp_planner import CEM, Budget, check_world_model, load_world_model
from grasp_planner.bench.running.observing import observe
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.models.registry import checkpoints

TASKS = {"wall-pixels": "wall/dset/v1", "pointmaze-pixels": "point_maze/dset/v1", "pusht-pixels": "push_t/dset/v1"}
READ = {"wall-pixels": 1.5, "pointmaze-pixels": 0.1, "pusht-pixels": 6.0}  # px, m, px


@pytest.fixture(scope="module", params=sorted(TASKS))
def shipped(request):
    if request.param not in checkpoints():
        pytest.skip(f"{request.param} is not among this build's checkpoints")
    model = load_world_model(request.param)
    assert isinstance(model, LatentModel)
    setting = task(TASKS[request.param])
    asked = episodes(setting, "validation", 6)
    env = setting.make(pixels=model.pixels)
    seen = [observe(env, one)[0] for one in asked]
    observations = {key: np.stack([one[key] for one in seen])[:, None] for key in seen[0]}
    return request.param, model, setting, asked, observations


def test_it_keeps_the_contract_on_what_its_environment_shows(shipped):
    _, model, _, _, observations = shipped
    report = check_world_model(model, observations)
    assert report.ok, str(report)


def test_it_reads_the_state_off_the_picture(shipped):
    name, model, _, _, observations = shipped
    read = model.decode_state(model.encode(observations))[:, 0].numpy()
    true = observations["state"][:, 0]
    places = slice(2, 4) if name == "pusht-pixels" else slice(0, 2)
    error = np.linalg.norm((read - true)[:, places], axis=-1)
    assert float(np.median(error)) < READ[name]


def test_it_draws_what_it_sees(shipped):
    _, model, _, _, observations = shipped
    drawn = model.picture(model.encode(observations)[:, 0]).float()
    ground = (model.ground.movedim(0, -1) + 0.5) * 255
    true = torch.as_tensor(observations["pixels"][:, 0]).float()
    assert float((drawn - true).abs().mean()) < float((ground - true).abs().mean()) + 4


def test_it_plans(shipped):
    name, model, setting, asked, _ = shipped
    found = evaluate(setting, model, CEM(samples=100, elites=10), Budget(steps=8), asked)
    assert found.reached.sum() >= (3 if name == "pusht-pixels" else 4)
