"""Pixel models: encoders, predictors, packing, files and planning."""

import dataclasses

import numpy as np
import pytest
import torch
from seen_pictures import seen

from grasp_planner import GD, Budget, GraspPlannerError, Problem, check_world_model, load_world_model, plan
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.model import LatentModel

PLAIN = LatentModelConfig(state_size=2, action_size=2, latent=8, channels=8, width=32, depth=2)
RIGID = LatentModelConfig(
    state_size=7,
    action_size=2,
    proprio_size=4,
    latent=6,
    channels=8,
    isotropic=True,
    predictor="rigid",
    substeps=5,
    width=32,
    depth=2,
    octaves=2,
    view=(0.0, 512.0),
    proprio_weights=(1.0, 1.0, 0.0, 0.0),
    angles=(4,),
)
TRANSFORMERS = dataclasses.replace(
    PLAIN, proprio_size=2, encoder="transformer", channels=32, layers=1, predictor="modulated", width=32
)
CONFIGS = {
    "keypoints": PLAIN,
    "convolutions": dataclasses.replace(PLAIN, encoder="convolutions"),
    "proprio": dataclasses.replace(PLAIN, proprio_size=3),
    "context": dataclasses.replace(PLAIN, context=3, proprio_size=2),
    "substeps": dataclasses.replace(PLAIN, substeps=5, octaves=2, proprio_size=2),
    "rigid": RIGID,
    "large": dataclasses.replace(PLAIN, pixels=224),
    "large convolutions": dataclasses.replace(PLAIN, pixels=224, encoder="convolutions"),
    "transformers": TRANSFORMERS,
    "large transformers": dataclasses.replace(TRANSFORMERS, pixels=224, context=3),
}


def made(config, seed=0):
    """Return a model whose predictor has large weights, unlike at initialisation."""
    torch.manual_seed(seed)
    model = LatentModel(config).eval().requires_grad_(False)
    if config.predictor == "modulated":  # at initialisation, no layer changes its tokens
        for parameter in model.predictor.transformer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    else:
        model.predictor.network.last.weight.mul_(3)
    if config.predictor == "rigid":  # set what a fit to data would find: actions move the pusher
        model.predictor.drift.action[:, :2] = 0.1 * torch.eye(2)
    return model


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_kind_keeps_the_contract(name):
    config = CONFIGS[name]
    model = made(config)
    report = check_world_model(model, seen(config))
    assert report.ok, str(report)
    latents = model.encode(seen(config))
    assert latents.shape == (3, config.context, config.latent + config.proprio_size)
    assert model.decode_state(latents).shape == (3, config.context, config.state_size)
    assert model.picture(latents[:, -1]).shape == (3, config.pixels, config.pixels, 3)


@pytest.mark.parametrize("name", ["keypoints", "rigid", "convolutions", "transformers"])
def test_saved_and_opened_it_is_the_same(name, tmp_path):
    config = CONFIGS[name]
    model = made(config)
    opened = load_world_model(model.save_pretrained(tmp_path))
    assert isinstance(opened, LatentModel) and opened.config == config
    assert not any(one.requires_grad for one in opened.parameters())
    observations, actions = seen(config), torch.ones(3, 1, 10)
    latents = model.encode(observations)
    assert torch.equal(opened.encode(observations), latents)
    assert torch.equal(opened(latents, actions), model(latents, actions))


def dot(x, y, side=64):
    """Draw a dark dot of 3 px on white, with x to the right."""
    line = np.arange(side) + 0.5
    shade = np.exp(-((line - x) ** 2 + (line[:, None] - y) ** 2) / 8)
    return np.repeat((255 * (1 - shade)).astype(np.uint8)[..., None], 3, axis=2)


def test_keypoints_move_with_what_they_see():
    """With a known white ground, only the dot differs from the ground, so keypoints follow the dot for any weights."""
    model = made(dataclasses.replace(PLAIN, still=True))
    model.ground.fill_(0.5)
    pictures = np.stack([dot(x, y) for x, y in [(28, 30), (36, 30), (28, 42)]])[:, None]
    points = model.encode({"pixels": pictures})[:, 0].unflatten(-1, (-1, 2))
    right, down = points[1] - points[0], points[2] - points[0]
    torch.testing.assert_close(right, torch.tensor([8 / 32, 0.0]).expand(4, 2), atol=0.01, rtol=0)
    torch.testing.assert_close(down, torch.tensor([0.0, 12 / 32]).expand(4, 2), atol=0.01, rtol=0)
    torch.testing.assert_close(points[0], torch.tensor([28 / 32 - 1, 30 / 32 - 1]).expand(4, 2), atol=0.15, rtol=0)


def test_a_body_that_proprioception_places_is_painted_over():
    model = made(dataclasses.replace(RIGID, own_radius=40.0, still=True))
    model.proprio_mean[:2], model.ground[:] = 256.0, 0.5
    model.proprio_std.fill_(256.0)
    both = np.minimum(dot(20, 20), dot(45, 40))[None, None]
    proprio = np.array([[[45 * 8.0, 40 * 8.0, 0, 0]]])
    alone = model.encode({"pixels": dot(20, 20)[None, None], "proprio": proprio})
    torch.testing.assert_close(model.encode({"pixels": both, "proprio": proprio}), alone, atol=1e-3, rtol=0)
    elsewhere = model.encode({"pixels": both, "proprio": proprio * 0.1})
    assert float((elsewhere - alone)[..., :6].abs().max()) > 0.1


def test_isotropic_keypoints_turn_with_the_picture():
    model = made(dataclasses.replace(PLAIN, isotropic=True))
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one, turned, mirrored = (
        model.encode({"pixels": np.ascontiguousarray(view)[None, None]})[0, 0].unflatten(-1, (-1, 2))
        for view in (picture, np.rot90(picture), picture[:, ::-1])
    )
    # rot90 sends (x, y) with y downwards to (y, -x).
    torch.testing.assert_close(turned, torch.stack([one[:, 1], -one[:, 0]], dim=-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored, one * torch.tensor([-1.0, 1.0]), atol=1e-5, rtol=0)
    plain = made(PLAIN)
    ahead = plain.encode({"pixels": picture[None, None]})[0, 0, 1::2]
    back = plain.encode({"pixels": np.ascontiguousarray(picture[:, ::-1])[None, None]})[0, 0, 1::2]
    assert float((ahead - back).abs().max()) > 1e-4


def test_a_rigid_body_stays_rigid_and_pushes_turn_with_it():
    model = made(RIGID)
    model.predictor.feelers.zero_()  # the walls are not symmetric under this rotation
    generator = torch.Generator().manual_seed(0)
    points = 0.2 * torch.randn(5, 3, 2, generator=generator)
    proprio = torch.cat([0.2 * torch.randn(5, 2, generator=generator), torch.zeros(5, 2)], dim=-1)
    actions = 0.1 * torch.randn(5, 1, 10, generator=generator)

    def after(points, proprio, actions):
        state = torch.cat([points.flatten(1), proprio], dim=-1)[:, None]
        return model(state, actions)[:, :6].unflatten(-1, (3, 2))

    moved = after(points, proprio, actions)
    assert float((moved - points).abs().max()) > 1e-4
    sizes = torch.stack([torch.cdist(one, one) for one in points])
    torch.testing.assert_close(torch.stack([torch.cdist(one, one) for one in moved]), sizes, atol=1e-5, rtol=1e-4)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    turned = after(
        points @ turn,
        torch.cat([proprio[:, :2] @ turn, proprio[:, 2:] @ turn], dim=-1),
        (actions.unflatten(-1, (5, 2)) @ turn).flatten(-2),
    )
    torch.testing.assert_close(turned, moved @ turn, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("substeps", [1, 5])
def test_the_linear_part_of_proprioception_is_found_in_blocks(substeps):
    """Observations at the ends of blocks suffice to fit the dynamics of a single step."""
    config = dataclasses.replace(PLAIN, proprio_size=4, substeps=substeps)
    drift = LatentModel(config).predictor.drift
    generator = torch.Generator().manual_seed(0)
    step = torch.eye(4).double()
    step[2:, :2] = 0.1 * torch.eye(2)  # q' = q A: velocity moves position
    step[2:, 2:] *= 0.7
    push = torch.cat([0.02 * torch.eye(2), 0.5 * torch.eye(2)], dim=1).double()
    rest = torch.tensor([0.01, -0.02, 0.03, 0.0]).double()
    before = torch.randn(500, 4, generator=generator).double()
    actions = torch.randn(500, 10, generator=generator).double()
    after = before
    for one in actions.split(2, dim=1):
        after = after @ step + one @ push + rest
    drift.fit(before, actions, after)
    found = before.float()
    for one in actions.float().split(10 // substeps, dim=1):
        found = drift(found, one)
    torch.testing.assert_close(found, after.float(), atol=1e-3, rtol=1e-3)
    if substeps == 5:
        torch.testing.assert_close(drift.state, step.float(), atol=1e-3, rtol=1e-3)


def test_goals_weigh_what_the_config_says():
    model = made(RIGID)
    assert model.goal_weights.tolist() == [1.0] * 6 + [1.0, 1.0, 0.0, 0.0]
    assert made(CONFIGS["proprio"]).goal_weights.tolist() == [1.0] * 11


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (
            {},
            r"needs observations\['pixels'\], got the keys \[\]; environments draw pictures when made with pixels=64",
        ),
        ({"pixels": np.zeros((1, 1, 32, 32, 3), np.uint8)}, r"uint8 \(b, h, 64, 64, 3\), got torch.uint8 \(1, 1, 32"),
        ({"pixels": np.zeros((1, 1, 64, 64, 3))}, "got torch.float64"),
        ({"pixels": np.zeros((2, 1, 64, 64, 3), np.uint8)}, "'proprio'"),
        (
            {"pixels": np.zeros((2, 1, 64, 64, 3), np.uint8), "proprio": np.zeros((1, 1, 3))},
            r"\(b, h, 3\) for these pictures, got \(1, 1, 3\)",
        ),
    ],
)
def test_observations_that_do_not_fit(observations, message):
    if "pixels" in observations and "proprio" not in message:
        observations = {"proprio": np.zeros((1, 1, 3)), **observations}
    with pytest.raises(GraspPlannerError, match=message):
        made(CONFIGS["proprio"]).encode(observations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "keypoint"}, "did you mean 'keypoints'"),
        ({"pixels": 96}, "one of"),
        ({"latent": 7}, "must be even"),
        ({"width": 0}, "width must be an integer >= 1"),
        ({"substeps": 2}, "substeps must be 1, or frameskip"),
        ({"substeps": 5, "context": 2}, "substeps must be 1, or frameskip"),
        ({"predictor": "rigid"}, "needs at least two keypoints"),
        ({"predictor": "rigid", "substeps": 5, "view": (0, 1)}, "needs proprioception"),
        ({"proprio_weights": (1.0,)}, "must have 0 numbers"),
        ({"angles": (2,)}, "places in a state of 2"),
        ({"view": (1.0, 0.0)}, "low to high"),
        ({"own_radius": 1.0}, "own_radius"),
        ({"still": True, "encoder": "convolutions"}, "still is a property of keypoints"),
        ({"layers": 1}, "other encoders have none"),
        ({"encoder": "transformer", "channels": 32}, "needs layers of at least 1"),
        ({"encoder": "transformer", "channels": 40, "layers": 1}, "channels of a transformer must be a multiple of 32"),
        ({"predictor": "modulated", "width": 48}, "width of a transformer must be a multiple of 32"),
        ({"predictor": "modulated", "substeps": 5}, "it needs substeps 1"),
    ],
)
def test_configs_that_make_no_sense(change, message):
    with pytest.raises(GraspPlannerError, match=message):
        dataclasses.replace(PLAIN, **change)


def test_modulated_layers_begin_as_the_identity_and_then_read_the_actions_of_the_whole_window():
    config = dataclasses.replace(TRANSFORMERS, context=3)
    begun, changed = LatentModel(config), made(config)
    latents, actions = torch.randn(2, 3, 10), torch.randn(2, 3, 10)
    others = actions.clone()
    others[:, 0] += 1.0
    with torch.no_grad():
        assert torch.allclose(begun(latents, actions)[:, :8], latents[:, -1, :8], atol=0.1)
        assert torch.equal(begun(latents, others)[:, :8], begun(latents, actions)[:, :8])
        assert float((changed(latents, others) - changed(latents, actions)).abs().max()) > 1e-3


def test_plans_from_what_an_environment_shows():
    """Evaluation draws pictures of the start and of the goal in the size that the model reads."""
    model = made(PLAIN)
    wall = task("wall/dset/v1", horizon=10)
    found = evaluate(wall, model, GD(), Budget(steps=3), episodes(wall, count=2))
    assert found.plan.actions.shape == (2, 2, 10) and found.imagined.shape == (2, 3, 2)
    assert float(found.plan.cost.max()) < np.inf


def test_plans_with_a_history():
    config = CONFIGS["context"]
    model = made(config)
    moment = {key: value[:1, :1] for key, value in seen(config).items()}
    problem = Problem.observed(model, moment, moment, 10 // model.frameskip)
    assert problem.states.shape == (1, 3, 10)
    assert plan(problem, GD(), Budget(steps=2)).actions.shape == (1, 2, 10)
