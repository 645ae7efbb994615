"""DINO-WM checkpoints: predictions, goal costs, opening of folders, and files that are refused."""

import socket
from dataclasses import replace

import numpy
import pytest
import torch
from foreign_dino_wm import PATCHES, SIDE, VISUAL, DinoV2Encoder, Published, their_modules
from torch import nn

from grasp_planner import (
    CEM,
    GD,
    GRASP,
    Agent,
    Budget,
    GoalDistance,
    GraspPlannerError,
    Problem,
    load_world_model,
    plan,
)
from grasp_planner.models import Statistics, UseSettings, check_world_model, load_dino_wm
from grasp_planner.models.normalisation import PUBLISHED
from grasp_planner.models.patches.dinov2 import DinoV2
from grasp_planner.models.patches.frame_transformer import frame_causal_mask

KINDS = [(0, 1, (1, 1)), (0, 3, (1, 1)), (1, 1, (1, 1)), (1, 2, (2, 3)), (1, 3, (1, 1))]
EVERY_KIND = pytest.mark.parametrize(("concat", "hist", "repeats"), KINDS)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def opened(published, folder, **use):
    return load_dino_wm(
        published.save(folder / "model"),
        "published",
        allow_pickle=True,
        encoder=published.encoder,
        use=UseSettings(**use),
    )


def observations(frames, batch=2, seed=0):
    random = numpy.random.default_rng(seed)
    return {
        "pixels": random.integers(0, 256, (batch, frames, SIDE, SIDE, 3), dtype=numpy.uint8),
        "proprio": random.normal(size=(batch, frames, 4)) * 100.0,
    }


def prepared(seen):
    """Prepare observations as DINO-WM does: normalised colours, 28 of 32 pixels, normalised proprioception."""
    given, size = torch.as_tensor(seen["pixels"]).movedim(-1, 2).float() / 255, SIDE // 16 * 14
    given = (given - 0.5) / 0.5
    small = nn.functional.interpolate(given.flatten(0, 1), size=(size, size), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(getattr(PUBLISHED["pusht"], f"proprio_{name}")) for name in ("mean", "std"))
    return small.unflatten(0, given.shape[:2]), ((torch.as_tensor(seen["proprio"]).float() - mean) / std)


def posed(model, seen, blocks, horizon, goal=None, weights=None):
    """Return the problem of an agent after these frames. If frames are missing, the first frame is repeated."""
    frames, h = seen["pixels"].shape[1], model.context
    places = [0] * (h - frames) + list(range(frames))
    states = model.encode({key: value[:, places] for key, value in seen.items()})
    past = torch.cat([torch.full((len(states), h - frames, 10), 7.0), blocks[:, : frames - 1]], dim=1)
    goal = states[:, -1] if goal is None else goal
    weights = model.goal_weights if weights is None else weights
    return Problem(model, states, past, goal, horizon, model.low, model.high, GoalDistance(weights), model.scale)


@EVERY_KIND
def test_the_contract_of_world_models(tmp_path, concat, hist, repeats):
    model = opened(Published(concat=concat, hist=hist, repeats=repeats), tmp_path)
    assert model.context == hist and model.frameskip == 5 and model.low.shape == (10,)
    report = check_world_model(model, observations(hist, batch=3), tolerance=1e-5)
    assert report.ok, str(report)


@EVERY_KIND
@pytest.mark.parametrize("seen", ["one frame", "all frames"])
def test_a_rollout_is_theirs(tmp_path, concat, hist, repeats, seen):
    published = Published(concat=concat, hist=hist, repeats=repeats)
    model = opened(published, tmp_path)
    frames, horizon = (1 if seen == "one frame" else hist), 6
    given = observations(frames)
    blocks = torch.randn(2, frames - 1 + horizon, 10)
    with torch.no_grad():
        theirs = published.rollout(*prepared(given), blocks)[:, frames:]
        problem = posed(model, given, blocks, horizon)
        ours = problem.rollout(blocks[:, frames - 1 :])
        before = torch.cat([problem.start[:, None], ours[:, :-1]], dim=1)
        along = problem.predict(before, blocks[:, frames - 1 :])
    flat = theirs.flatten(2)
    torch.testing.assert_close(ours[..., : flat.shape[-1]], flat, rtol=0, atol=1e-5)
    torch.testing.assert_close(along, ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("concat", "repeats"), [(0, (1, 1)), (1, (1, 1)), (1, (1, 2))])
def test_the_goal_is_judged_as_theirs(tmp_path, concat, repeats):
    published, alpha = Published(concat=concat, hist=2, repeats=repeats), 0.7
    model = opened(published, tmp_path, alpha=alpha, scale=2.0)
    with torch.no_grad():
        goal = model.encode(observations(1, seed=1))[:, -1]
        problem = posed(model, observations(1), torch.zeros(2, 0, 10), 3, goal)
        end = problem.rollout(torch.randn(2, 3, 10))
    ours = problem.cost(end, torch.zeros(2, 3, 10)) / (PATCHES * VISUAL)
    frame, wanted = (x[..., :-1].unflatten(-1, model.layout.shape) for x in (end[:, -1], goal))
    q = published.proprio.emb_dim
    visual = [x[:, :PATCHES, :VISUAL] for x in (frame, wanted)]
    proprio = [x[:, -1] if concat == 0 else x[:, 0, VISUAL : VISUAL + q] for x in (frame, wanted)]
    theirs = (visual[0] - visual[1]).square().mean((1, 2)) + alpha * (proprio[0] - proprio[1]).square().mean(1)
    torch.testing.assert_close(ours, theirs)


def test_frames_that_were_not_seen_are_not_read(tmp_path):
    model = opened(Published(hist=3), tmp_path)
    seen = observations(1)
    repeated = {key: numpy.repeat(value, 3, axis=1) for key, value in seen.items()}
    states, blocks = model.encode(repeated), torch.randn(2, 3, 10)
    other_past = blocks.clone()
    other_past[:, :2] = torch.randn(2, 2, 10)
    torch.testing.assert_close(model(states, blocks), model(states, other_past), rtol=0, atol=0)
    moved = observations(3)
    moved["pixels"][:, -1] = seen["pixels"][:, 0]
    full = model.encode(moved)
    assert not torch.allclose(model(full, blocks), model(full, other_past))


def test_rows_of_different_lengths_are_predicted_as_they_are_alone(tmp_path):
    model = opened(Published(hist=3), tmp_path)
    seen = observations(3, batch=3)
    for row, first in ((0, 2), (1, 1)):  # one frame, two frames, three frames
        for value in seen.values():
            value[row, :first] = value[row, first]
    states, blocks = model.encode(seen), torch.randn(3, 3, 10)
    assert [int(n) for n in (states[..., -1] == 0).sum(1)] == [1, 2, 3]
    together = model(states, blocks)
    alone = torch.cat([model(states[i : i + 1], blocks[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_published_protocol_starts_from_one_frame(tmp_path):
    published = Published(hist=3)
    model = opened(published, tmp_path, history=1)
    seen = observations(3)
    states, blocks = model.encode(seen), torch.randn(2, 3, 10)
    newest = {key: value[:, -1:] for key, value in seen.items()}
    with torch.no_grad():
        theirs = published.rollout(*prepared(newest), blocks[:, -1:])[:, -1].flatten(1)
    torch.testing.assert_close(model(states, blocks)[:, :-1], theirs, rtol=0, atol=1e-5)
    with pytest.raises(GraspPlannerError, match="from 1 to 3, got 4"):
        load_dino_wm(
            tmp_path / "model", "published", allow_pickle=True, encoder=published.encoder, use=UseSettings(history=4)
        )


@pytest.mark.parametrize(
    "planner", [GD(), CEM(samples=8, elites=2), GRASP(sync_every=4, sync_steps=2, state_noise=0.5)]
)
def test_a_plan_through_it(tmp_path, planner):
    model = opened(Published(hist=2), tmp_path)
    goal = model.encode(observations(1, seed=1))[:, -1]
    problem = posed(model, observations(2), torch.randn(2, 1, 10), 3, goal)
    found = plan(problem, planner, Budget(steps=8))
    zero = problem.cost(problem.rollout(torch.zeros(2, 3, 10)), torch.zeros(2, 3, 10))
    assert bool((found.cost < zero).all())
    assert bool((found.actions >= model.low).all() and (found.actions <= model.high).all())
    assert bool((found.states[..., -1] == 0).all())  # no noise makes a frame absent


def test_an_agent_acts_in_the_units_of_the_environment(tmp_path):
    model = opened(Published(hist=3), tmp_path)
    agent = Agent(model, CEM(samples=8, elites=2), Budget(steps=1), execute=1, horizon=2)
    goal = {key: value[0, 0] for key, value in observations(1, seed=1).items()}
    for seed in range(4):
        actions = agent.act({key: value[0, 0] for key, value in observations(1, seed=seed).items()}, goal)
        assert actions.shape == (5, 2)
    mean, std = numpy.array(PUBLISHED["pusht"].action_mean), numpy.array(PUBLISHED["pusht"].action_std)
    assert (abs(actions - mean) <= 3.001 * std).all() and not (abs(actions) < 1e-3).all()


def test_bounds_are_those_of_environment_actions(tmp_path):
    model = opened(Published(), tmp_path, bounds=(-1.0, 0.5))
    low, high = model.environment_actions(model.low), model.environment_actions(model.high)
    torch.testing.assert_close(low, torch.full((5, 2), -1.0))
    torch.testing.assert_close(high, torch.full((5, 2), 0.5))


def test_the_mask_is_made_where_the_input_is():
    mask = frame_causal_mask(3, 2, torch.device("meta"))
    assert mask.device.type == "meta" and mask.shape == (6, 6)
    real = frame_causal_mask(2, 2, torch.device("cpu"))
    assert real.tolist() == [[True, True, False, False]] * 2 + [[True] * 4] * 2


def test_it_runs_in_double_precision(tmp_path):
    model = opened(Published(hist=2), tmp_path).double()
    states = model.encode(observations(2))
    assert states.dtype == torch.float64 == model(states, torch.zeros(2, 2, 10, dtype=torch.float64)).dtype


# How a folder is opened.


def test_consent_is_asked_for_before_anything_is_read(tmp_path):
    folder = Published().save(tmp_path / "model")
    (folder / "checkpoints" / "model_latest.pth").write_bytes(b"never read")
    for open_it in (load_dino_wm, load_world_model):
        with pytest.raises(GraspPlannerError, match=r"model_latest.pth holds pickled .* allow_pickle=True"):
            open_it(folder, statistics="published")


def test_statistics_are_asked_for(tmp_path):
    published = Published()
    folder = published.save(tmp_path / "model")
    for given in (None, "publshed"):
        with pytest.raises(GraspPlannerError, match=r"environment 'pusht'.*needed|needed.*environment 'pusht'"):
            load_dino_wm(folder, given, allow_pickle=True, encoder=published.encoder)
    settings = folder / "hydra.yaml"
    settings.write_text(settings.read_text().replace("name: pusht", "name: rope"))
    with pytest.raises(GraspPlannerError, match="'rope'"):
        load_dino_wm(folder, "published", allow_pickle=True, encoder=published.encoder)
    own = Statistics((0.0, 0.0), (2.0, 2.0), (0.0,) * 4, (1.0,) * 4)
    model = load_dino_wm(folder, own, allow_pickle=True, encoder=published.encoder)
    torch.testing.assert_close(model.environment_actions(torch.ones(10)), torch.full((5, 2), 2.0))
    settings.write_text(settings.read_text().replace("normalize_action: true", "normalize_action: false"))
    model = load_dino_wm(folder, allow_pickle=True, encoder=published.encoder)
    torch.testing.assert_close(model.environment_actions(torch.ones(10)), torch.ones(5, 2))


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (replace(PUBLISHED["pusht"], proprio_mean=(0.0,) * 2, proprio_std=(1.0,) * 2), "reads 4 proprioceptive"),
        (replace(PUBLISHED["pusht"], action_mean=(0.0,) * 3, action_std=(1.0,) * 3), "takes 10 action numbers"),
    ],
)
def test_statistics_of_another_size(tmp_path, statistics, message):
    published = Published()
    with pytest.raises(GraspPlannerError, match=message):
        load_dino_wm(published.save(tmp_path / "m"), statistics, allow_pickle=True, encoder=published.encoder)


def test_bad_statistics_are_refused():
    with pytest.raises(GraspPlannerError, match="same length"):
        Statistics((0.0,), (1.0, 1.0))
    with pytest.raises(GraspPlannerError, match="finite and > 0"):
        Statistics((0.0,), (0.0,))
    with pytest.raises(GraspPlannerError, match="got none"):
        Statistics((), ())


def test_absent_weights_of_the_encoder_say_where_they_belong(tmp_path):
    with pytest.raises(
        GraspPlannerError, match=r"torch/hub/checkpoints/dinov2_vits14_pretrain.pth.*TORCH_HOME.*encoder="
    ):
        load_dino_wm(Published().save(tmp_path / "m"), "published", allow_pickle=True)


def dinov2():
    encoder = DinoV2(width=64, depth=1, patch=14, grid=3)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    return encoder.eval()


def as_wide_as(width, monkeypatch):
    monkeypatch.setattr("foreign_dino_wm.VISUAL", width)


def test_the_encoder_comes_from_the_folder_of_torch_hub(tmp_path, monkeypatch):
    as_wide_as(64, monkeypatch)
    encoder, place = dinov2(), tmp_path / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    torch.save(encoder.state_dict(), place / "dinov2_vits14_pretrain.pth")
    model = load_dino_wm(Published(hist=1).save(tmp_path / "m"), "published", allow_pickle=True)
    seen = observations(1)
    pictures = prepared(seen)[0].flatten(0, 1)
    visual = model.encode(seen).unflatten(-1, model.layout.shape)[:, 0, :, :64]
    with torch.no_grad():
        torch.testing.assert_close(visual, encoder(pictures))
    place.joinpath("dinov2_vits14_pretrain.pth").write_bytes(b"half")
    with pytest.raises(GraspPlannerError, match="not a whole file of weights"):
        load_dino_wm(tmp_path / "m", "published", allow_pickle=True)


def test_an_encoder_in_the_checkpoint_is_used(tmp_path, monkeypatch):
    as_wide_as(64, monkeypatch)
    encoder = dinov2()
    with their_modules():
        wrapped = DinoV2Encoder(encoder)
    folder = Published(hist=1).save(tmp_path / "m", encoder=wrapped)
    model = load_world_model(folder, statistics="published", allow_pickle=True)
    torch.testing.assert_close(model.encoder.state_dict(), encoder.state_dict())
    assert not any(p.requires_grad for p in model.parameters()) and not model.training


def test_an_encoder_that_does_not_fit(tmp_path):
    published = Published()
    folder = published.save(tmp_path / "m")
    model = load_dino_wm(folder, "published", allow_pickle=True, encoder=lambda x: x.flatten(2))
    with pytest.raises(GraspPlannerError, match=r"must give \(4, 12\) tokens a picture"):
        model.encode(observations(1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("concat_dim: 1", "concat_dim: 2", "concat_dim = 2"),
        ("num_hist: 3", "num_hist: 0", "num_hist, an integer >= 1; got 0"),
        ("num_hist: 3", "num_hist: 5", "num_hist 5, but the predictor has 3 frames"),
        ("frameskip: 5", "frameskip: five", "frameskip, an integer"),
        ("frameskip: 5", "frameskip: 1", "takes 10 action numbers; 1 steps"),
        ("heads: 2", "heads: 7", "7 heads"),
        (f"img_size: {SIDE}", "img_size: 224", "do not fit 196 tokens"),
        ("x_norm_patchtokens", "x_norm_patch", "did you mean 'x_norm_patchtokens'"),
        ("num_action_repeat: 1", "", "num_action_repeat"),
        ("env:", "env: [", "not plain YAML"),
        ("epochs: 100", "epochs: !!python/object/apply:os.getcwd []", "not plain YAML"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, old, new, message):
    published = Published()
    folder = published.save(tmp_path / "m")
    settings = folder / "hydra.yaml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))
    with pytest.raises(GraspPlannerError, match=message):
        load_dino_wm(folder, "published", allow_pickle=True, encoder=published.encoder)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ({"pixels": numpy.zeros((1, 1, SIDE, SIDE, 3), numpy.uint8)}, r"needs observations \['proprio'\]"),
        (observations(1) | {"pixels": numpy.zeros((2, 1, 3, SIDE, SIDE), numpy.uint8)}, "must be uint8"),
        (observations(1) | {"pixels": numpy.zeros((2, 1, SIDE, SIDE, 3))}, "must be uint8"),
        (observations(1) | {"proprio": numpy.zeros((2, 1, 3))}, r"must be \(2, 1, 4\)"),
    ],
)
def test_observations_of_another_shape(tmp_path, seen, message):
    with pytest.raises(GraspPlannerError, match=message):
        opened(Published(), tmp_path).encode(seen)
