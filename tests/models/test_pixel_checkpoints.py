"""The packaged pixel models: the claims of their model cards, on few episodes."""

import numpy as np
import pytest
import torch

from grasp_planner import CEM, GD, Budget, MultiStart, check_world_model, load_world_model
from grasp_planner.bench.running.observing import observe
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.models.registry import checkpoints

WORLDS = {"wall": "wall/dset/v1", "pointmaze": "point_maze/dset/v1", "pusht": "push_t/dset/v1"}
KINDS = {"pixels": WORLDS, "patches": WORLDS, "lewm": ("wall", "pusht")}
TASKS = {f"{world}-{kind}": WORLDS[world] for kind, worlds in KINDS.items() for world in worlds}
READ = {"wall": 1.5, "pointmaze": 0.1, "pusht": 6.0}  # px, m, px
PLANNERS = {
    "pixels": CEM(samples=100, elites=10),
    "patches": GD(lr=0.2),
    "lewm": MultiStart(GD(lr=0.2, action_noise=0.05), starts=16, start_std=1.0),
}

# Latent of a stripe pattern, the prediction from a second pattern, and the state that the probe reads from it, as
# version 0.3.0 computed them. Of wide latents, only the last coordinates are here.
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
    "wall-patches": (
        [-2.78455, 6.86977, 8.36, -0.13459, 0.3, 0.3],
        [-2.70676, 6.13959, 6.05836, -0.69403, -0.33874, -0.06067],
        [42.7837, 51.8058],
    ),
    "pointmaze-patches": (
        [10.43317, 2.19555, -2.93575, 3.37872, 0.3, 0.3, 0.3, 0.3],
        [11.42008, 2.26154, 0.48626, 2.07128, -0.53237, -0.46698, -0.08848, 0.34579],
        [0.7902, 3.0162, 1.2464, 0.4974],
    ),
    "wall-lewm": (
        [2.55699, -0.64602, -0.11889, 0.17941, 0.23518, -2.03792, 0.59418, 0.38357],
        [-0.17483, -1.62013, 1.18382, 1.61226, -2.28319, -0.72883, 1.55045, 1.42045],
        [32.1807, 26.44227],
    ),
    "pusht-lewm": (
        [0.89065, 1.17071, 0.45375, 1.33925, 0.3, 0.3, 0.3, 0.3],
        [1.03094, 0.27513, 0.81371, 0.94335, -0.49404, -0.3817, 0.78179, 1.03345],
        [206.6131, 215.5617, 251.502, 186.8298, 1.2617, 77.6916, 100.9463],
    ),
    "pusht-patches": (
        [3.49904, -2.7461, 2.46043, 2.7822, 0.3, 0.3, 0.3, 0.3],
        [1.34013, -1.60077, 1.3695, 3.33618, -0.48931, -0.38269, 0.88899, 0.99515],
        [187.588, 223.8436, 279.4245, 254.9377, 4.9461, 83.1491, 100.8022],
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
    shown = slice(-len(KNOWN[name][0]), None)
    loose = 1.0 if name.endswith("pixels") else 10.0  # a deep encoder rounds more
    found = (latents[0, 0, shown], after[1, shown], model.decode_state(after)[1])
    for one, known in zip(found, KNOWN[name], strict=True):
        torch.testing.assert_close(one, torch.tensor(known), atol=2e-4 * loose, rtol=1e-4 * loose)


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
    world = name.split("-")[0]
    places = slice(2, 4) if world == "pusht" else slice(0, 2)
    error = np.linalg.norm((read - true)[:, places], axis=-1)
    assert float(np.median(error)) < READ[world]


def test_it_draws_what_it_sees(shipped):
    _, model, _, _, observations = shipped
    if model.decoder is None:
        with pytest.raises(GraspPlannerError, match="no decoder"):
            model.picture(model.encode(observations)[:, 0])
        return
    drawn = model.picture(model.encode(observations)[:, 0]).float()
    ground = (model.ground.movedim(0, -1) + 0.5) * 255
    true = torch.as_tensor(observations["pixels"][:, 0]).float()
    assert float((drawn - true).abs().mean()) < float((ground - true).abs().mean()) + 4


def test_it_plans(shipped):
    name, model, setting, asked, _ = shipped
    world, kind = name.split("-")
    steps = {"pixels": 8, "patches": 100, "lewm": 40}[kind]
    found = evaluate(setting, model, PLANNERS[kind], Budget(steps=steps), asked)
    assert found.reached.sum() >= (3 if world == "pusht" else 4)
