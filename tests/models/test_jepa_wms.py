"""JEPA-WMs checkpoints, with the AdaLN and the DINO-WM predictor."""

import numpy
import pytest
import torch
from foreign_jepa_wms import GRID, SIDE, VISUAL, Published

from grasp_planner import GD, GRASP, Budget, GoalDistance, GraspPlannerError, Problem, load_world_model, plan
from grasp_planner.models import Statistics, UseSettings, check_world_model, load_jepa_wms
from grasp_planner.models.normalisation import PUBLISHED
from grasp_planner.models.picture_transform import IMAGENET_MEAN, IMAGENET_STD

KINDS = [("AdaLN", True), ("AdaLN", False), ("dino_wm", True), ("dino_wm", False)]
EVERY_KIND = pytest.mark.parametrize(("kind", "proprio"), KINDS)
WALL = PUBLISHED["wall"]


def opened(published, folder, **use):
    return load_jepa_wms(
        *published.save(folder / "model"), "published", encoder=published.encoder, use=UseSettings(**use)
    )


def observations(frames, batch=2, seed=0):
    random = numpy.random.default_rng(seed)
    return {
        "pixels": random.integers(0, 256, (batch, frames, SIDE, SIDE, 3), dtype=numpy.uint8),
        "proprio": random.normal(size=(batch, frames, 2)) * 20.0,
    }


def prepared(seen):
    mean, std = (torch.tensor(value)[:, None, None] for value in (IMAGENET_MEAN, IMAGENET_STD))
    pictures = (torch.as_tensor(seen["pixels"]).movedim(-1, 2).float() / 255 - mean) / std
    mean, std = torch.tensor(WALL.proprio_mean), torch.tensor(WALL.proprio_std)
    return pictures, (torch.as_tensor(seen["proprio"]).float() - mean) / std


def posed(model, seen, blocks, horizon, goal):
    frames = seen["pixels"].shape[1]
    states = model.encode({key: value[:, [0] * (2 - frames) + list(range(frames))] for key, value in seen.items()})
    past = torch.cat([torch.full((len(states), 2 - frames, 10), 7.0), blocks[:, : frames - 1]], dim=1)
    objective = GoalDistance(model.goal_weights)
    return Problem(model, states, past, goal, horizon, model.low, model.high, objective, model.scale)


@EVERY_KIND
def test_the_contract_of_world_models(tmp_path, kind, proprio):
    model = opened(Published(kind, proprio=proprio), tmp_path)
    assert (model.context, model.frameskip) == (2, 5)
    report = check_world_model(model, observations(2, batch=3), tolerance=1e-5)
    assert report.ok, str(report)


@EVERY_KIND
@pytest.mark.parametrize("frames", [1, 2])
def test_a_rollout_is_theirs(tmp_path, kind, proprio, frames):
    published = Published(kind, proprio=proprio)
    model = opened(published, tmp_path, alpha=0.1)
    seen, horizon = observations(frames), 4
    blocks = torch.randn(2, frames - 1 + horizon, 10)
    goal = model.encode(observations(1, seed=1))[:, -1]
    with torch.no_grad():
        theirs = published.rollout(*prepared(seen), blocks)[:, frames:]
        problem = posed(model, seen, blocks, horizon, goal)
        ours = problem.rollout(blocks[:, frames - 1 :])
        before = torch.cat([problem.start[:, None], ours[:, :-1]], dim=1)
        along = problem.predict(before, blocks[:, frames - 1 :])
    torch.testing.assert_close(ours[..., :-1], theirs.flatten(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(along, ours, rtol=0, atol=1e-5)
    wanted = goal[:, :-1].unflatten(-1, model.layout.shape)
    cost = (theirs[:, -1, :, :VISUAL] - wanted[..., :VISUAL]).square().mean((1, 2))
    if proprio:
        cost = cost + 0.1 * (theirs[:, -1, :, VISUAL:] - wanted[..., VISUAL:]).square().mean((1, 2))
    torch.testing.assert_close(problem.cost(ours, torch.zeros(2, horizon, 10)) / (GRID**2 * VISUAL), cost)


@pytest.mark.parametrize("kind", ["AdaLN", "dino_wm"])
@pytest.mark.parametrize("planner", [GD(), GRASP(sync_every=4, sync_steps=2)])
def test_a_plan_through_it(tmp_path, kind, planner):
    model = opened(Published(kind), tmp_path)
    goal = model.encode(observations(1, seed=1))[:, -1]
    problem = posed(model, observations(2), torch.randn(2, 1, 10), 3, goal)
    found = plan(problem, planner, Budget(steps=8))
    zero = problem.cost(problem.rollout(torch.zeros(2, 3, 10)), torch.zeros(2, 3, 10))
    assert bool((found.cost < zero).all())


def test_a_folder_with_both_files_opens_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    published = Published()
    published.save(tmp_path / "model")
    with pytest.raises(GraspPlannerError, match=r"statistics of the data .*\(Wall\), got None"):
        load_world_model(tmp_path / "model")
    with pytest.raises(GraspPlannerError, match="needed the weights of DINOv2 at"):
        load_world_model(tmp_path / "model", statistics="published")


def test_other_statistics(tmp_path):
    published = Published()
    files = published.save(tmp_path / "model")
    own = Statistics((1.0, 1.0), (2.0, 2.0), (0.0, 0.0), (1.0, 1.0))
    model = load_jepa_wms(*files, own, encoder=published.encoder)
    torch.testing.assert_close(model.environment_actions(torch.ones(10)), torch.full((5, 2), 3.0))
    files[1].write_text(files[1].read_text().replace("[Wall]", "[Wall, PushT]"))
    with pytest.raises(GraspPlannerError, match=r"\(Wall, PushT\), got 'published'"):
        load_jepa_wms(*files, "published", encoder=published.encoder)
    files[1].write_text(files[1].read_text().replace("normalize_action: true", "normalize_action: false"))
    model = load_jepa_wms(*files, encoder=published.encoder)
    torch.testing.assert_close(model.environment_actions(torch.ones(10)), torch.ones(5, 2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pred_type: AdaLN", "pred_type: vjepa2_ac", "pred_type = 'vjepa2_ac'; supported here: 'AdaLN', 'dino_wm'"),
        ("pred_type: AdaLN", "pred_type: dino_wm", "must hold 'action_encoder'"),
        ("enc_type: dino", "enc_type: vjepa", "enc_type = 'vjepa'"),
        ("proprio_encoding: feature", "proprio_encoding: token", "proprio_encoding = 'token'"),
        ("normalize_reps: false", "normalize_reps: true", "normalize_reps = True"),
        ("use_rope: true", "use_rope: false", "use_rope = False"),
        ("use_SiLU: false", "use_SiLU: true", "use_SiLU = True"),
        ("act_mlp: false", "act_mlp: true", "act_mlp = True"),
        ("action_skip: 1", "action_skip: 5", "action_skip = 5"),
        ("ctxt_window: 2", "ctxt_window: 5", "ctxt_window 5, but the predictor has 4 frames"),
        ("ctxt_window: 2", "ctxt_window: 2, proprio_mode: compute_new_pose", "compute_new_pose"),
        ("pred_num_heads: 4", "pred_num_heads: 5", "5 heads"),
        ("grid_size: 2", "grid_size: 3", "do not divide into 3 patches"),
        ("proprio_emb_dim: 8", "proprio_emb_dim: 4", "wants 4 proprioceptive"),
        ("frameskip: 5", "frameskip: 2", "takes 10 action numbers; 2 steps"),
        ("frameskip: 5", "frameskip: x", "frameskip, an integer"),
        ("model_kwargs:", "other:", "pred_type = None"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, old, new, message):
    published = Published()
    files = published.save(tmp_path / "model")
    assert old in files[1].read_text()
    files[1].write_text(files[1].read_text().replace(old, new))
    with pytest.raises(GraspPlannerError, match=message):
        load_jepa_wms(*files, "published", encoder=published.encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("predictor_blocks.1.attn.qkv.bias"), "missing: predictor_blocks.1.attn.qkv.bias"),
        (lambda w: w.update(more=torch.zeros(1)), "unknown tensors: more"),
        (lambda w: w.update({"predictor_norm.bias": torch.full((32,), torch.inf)}), "predictor_norm.bias holds NaN"),
        (lambda w: w.pop("predictor_embed.weight"), "does not hold the AdaLN predictor; it has"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, message):
    published = Published()
    change(published.weights)
    with pytest.raises(GraspPlannerError, match=message):
        load_jepa_wms(*published.save(tmp_path / "m"), "published", encoder=published.encoder)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_files(tmp_path, keep):
    published = Published()
    weights, settings = published.save(tmp_path / "m")
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(GraspPlannerError, match="truncated"):
        load_jepa_wms(weights, settings, "published", encoder=published.encoder)
    with pytest.raises(GraspPlannerError, match="needed the settings file"):
        load_jepa_wms(weights, tmp_path / "none.yaml", "published", encoder=published.encoder)
