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

# Latent of a stripe pattern, the prediction from a second pattern, and the state that the probe reads from it, as
# version 0.3.0 computed them.
KNOWN = {
    "wall-pixels": (
        [-0.2264, -0.1397, -0.22441, -0.13377],
        [-0.34374, 0.22597, -0.34167, 0.22305],
        [21.7641, 38.8877],
    ),
    "pointmaze-pixels": (
        [0.03231, -0.03912, 0.0266, -0.05309, 0.3, 0.3, 0.3, 0.3],
        [-0.34259, -0.16846, -0.3541, -0.17818, -0.77422, -0.74039, -0.71329, -0.2702],
        [1.0203, 1.2652, -1.1973, -0.5426],
    ),
    "pusht-pixels": (
        [0.14239, -0.06817, -0.02286, 0.08646, 0.3, 0.3, 0.3, 0.3],
        [0.0786, -0.06857, -0.08984, 0.08752, -0.43892, -0.40005, 0.26463, 0.33948],
        [142.8065, 153.4533, 278.327, 234.7484, 0.8226, 68.0045, 86.8608],
    ),
}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_predictions_are_those_of_earlier_versions(name):
    model, line = load_world_model(name), np.arange(64)
    assert isinstance(model, LatentModel)
    shade = ((line[:, None] * 3 + line * 5 + 7) % 256).astype(np.uint8)
    pixels = np.stack([np.repeat(np.roll(shade, shift, axis=1)[..., None], 3, -1) for shift in (0, 9)])[:, None]
    mean, std = model.proprio_mean.numpy(), model.proprio_std.numpy()
    proprio = np.stack([mean + 0.3 * std, mean - 0.4 * std])[:, None]
    latents = model.encode({"pixels": pixels, "proprio": proprio})
    after = model(latents, torch.linspace(-1, 1, len(model.low)).expand(2, 1, -1))
    for found, known in zip((latents[0, 0], after[1], model.decode_state(after)[1]), KNOWN[name], strict=True):
        torch.testing.assert_close(found, torch.tensor(known), atol=2e-4, rtol=1e-4)


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
