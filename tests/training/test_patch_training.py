"""Models on patch features learn, resume to the bit, and encode each picture once."""

import dataclasses

import numpy as np
import pytest
import torch
from test_latent_training import dots, state_of

from grasp_planner import GraspPlannerError, load_world_model
from grasp_planner.data import collect, read
from grasp_planner.models import LatentModel, PatchModelConfig
from grasp_planner.models.patches.efficientnet_lite import EfficientNetLite0
from grasp_planner.training import RECIPES, Phase, Recipe, feature_cache, train
from grasp_planner.training.latent_learner import rollout
from grasp_planner.training.recipes import build_learner

SMALL = Recipe(
    model=PatchModelConfig(
        state_size=2,
        action_size=2,
        proprio_size=2,
        strides=(4,),
        patch=32,
        components=4,
        width=16,
        depth=1,
        heads=2,
        hidden=32,
    ),
    steps=8,
    phases=(Phase(0.5, 5, 8), Phase(0.5, 15, 4)),
    lr=1e-2,
    average=0.5,
    tolerance=1.0,
    validation=0.2,
    horizons=(5, 10),
)


@pytest.fixture(scope="module")
def data():
    return dots()


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """Replace the pretrained weights, which are an optional package, by random weights."""

    def random_weights(config):
        torch.manual_seed(7)
        return EfficientNetLite0(config.strides, config.patch)

    monkeypatch.setattr(feature_cache, "pretrained_network", random_weights)


@pytest.mark.parametrize("context", [1, 3])
def test_it_trains_saves_and_reports(context, tmp_path):
    data = dots(steps=30)
    recipe = dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, context=context))
    trained = train(recipe, data, tmp_path, progress=False)
    assert set(trained.errors) == {"position", "read_position"} and set(trained.errors["position"]) == {"5", "10"}
    assert not trained.collapsed
    model = load_world_model(tmp_path)
    assert isinstance(model, LatentModel) and model.context == context
    assert float(model.action_std.mean()) == pytest.approx(0.7, rel=0.15)
    # Away from the edge, the dynamics of the proprioception are linear and fitted before the first step.
    pixels = np.repeat(data.array("pixels")[:1][None], context, axis=1)
    before = model.encode({"pixels": pixels, "proprio": [[[30.0, 30.0]] * context]})
    actions = model.model_actions(torch.full((1, 5, 2), 0.4))[:, None].expand(-1, context, -1)
    visual = recipe.model.visual
    moved = model(before, actions)[0, visual : visual + 2] * model.proprio_std + model.proprio_mean
    assert moved.tolist() == pytest.approx([32.0, 32.0], abs=1.0)


def test_the_encoder_is_not_trained_and_components_are_normalised(data, tmp_path, encoder):
    train(SMALL, data, tmp_path, progress=False)
    model = load_world_model(tmp_path)
    pretrained = feature_cache.pretrained_network(SMALL.model)
    for name, tensor in model.encoder.network.state_dict().items():
        assert torch.equal(tensor, pretrained.state_dict()[name])
    latents = model.visual({"pixels": torch.from_numpy(data.array("pixels"))[:, None]})
    latents = latents.unflatten(-1, (-1, 4)).flatten(0, 2)
    assert latents.std(0).tolist() == pytest.approx([1.0] * 4, rel=1e-2)


@pytest.mark.parametrize("killed_at", [2, 6])
def test_resumed_in_either_phase_it_is_the_same_to_the_bit(killed_at, data, tmp_path):
    whole = train(SMALL, data, tmp_path / "whole", progress=False)

    class Killed(Exception):
        pass

    def kill(step, errors):
        if step == killed_at + 1:
            raise Killed

    often = {"progress": False, "validate_every": 1, "checkpoint_every": killed_at}
    with pytest.raises(Killed):
        train(SMALL, data, tmp_path / "killed", callback=kill, **often)
    resumed = train(SMALL, data, tmp_path / "killed", resume=True, progress=False)
    one, other = state_of(whole.folder)["average"], state_of(resumed.folder)["average"]
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed.errors == whole.errors


def test_it_learns_to_predict(tmp_path):
    """Open-loop predictions of the training episodes are better than no change, after 20 environment steps."""
    phases = (Phase(0.5, 5, 32), Phase(0.5, 15, 32))
    recipe = dataclasses.replace(SMALL, steps=200, lr=3e-3, phases=phases)
    train(recipe, dots(episodes=60), tmp_path, progress=False)
    model, known = load_world_model(tmp_path), dots(episodes=60)
    shape = (len(known), 21)
    seen = {key: torch.as_tensor(known.array(key)).unflatten(0, shape) for key in ("pixels", "proprio")}
    latents = model.encode(seen)[:, ::5]
    actions = model.model_actions(torch.as_tensor(known.actions).unflatten(0, (len(known), 4, 5)))
    predicted = rollout(model, latents[:, :1], actions)
    error = (predicted - latents[:, 1:]).square().mean((0, 2))
    still = (latents[:, :1] - latents[:, 1:]).square().mean((0, 2))
    assert float(error[-1]) < 0.8 * float(still[-1])


def test_pictures_on_disk_are_encoded_once(tmp_path, monkeypatch):
    folder = collect("wall", 6, tmp_path / "walks", pixels=64, workers=1, progress=False)
    other = collect("wall", 5, tmp_path / "others", pixels=64, seed=1, workers=1, progress=False)
    recipe = dataclasses.replace(SMALL, steps=2, horizons=(5,))
    first = train(recipe, [folder, other], tmp_path / "first", progress=False)
    kept = sorted(path.name for path in (folder / ".arrays").glob("latents-*"))
    assert len(kept) == 1 and kept[0].endswith(".npy")
    rows = len(read(folder, keys=("state",)).array("state"))
    assert np.load(folder / ".arrays" / kept[0], mmap_mode="r").shape == (rows, recipe.model.visual)

    def never(*_):
        raise AssertionError("pictures were encoded again")

    monkeypatch.setattr(LatentModel, "visual", never)
    again = train(recipe, [folder, other], tmp_path / "again", progress=False)
    assert again.errors == first.errors


def test_data_of_other_sizes_are_refused(data, tmp_path):
    wrong = dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, state_size=3))
    with pytest.raises(GraspPlannerError, match="--model.state-size 2"):
        train(wrong, data, tmp_path, progress=False)
    still = dataclasses.replace(data, observations={**data.observations, "pixels": np.zeros_like(data.array("pixels"))})
    with pytest.raises(GraspPlannerError, match="nothing moves"):
        train(SMALL, still, tmp_path / "still", progress=False)


def test_frozen_phases_are_refused():
    with pytest.raises(GraspPlannerError, match="encoder is trained"):
        dataclasses.replace(SMALL, phases=(Phase(0.5, 5, 8), Phase(0.5, 5, 8, frozen=True)))


def test_recipes_of_dino_wm_need_only_flags():
    """The recipe of patches with DINOv2 in place of EfficientNet is a valid recipe."""
    small = RECIPES["pusht-patches"]
    model = dataclasses.replace(
        small.model, encoder="dinov2_vits14", strides=(), patch=14, pixels=224, encoder_pixels=196, components=64
    )
    assert dataclasses.replace(small, model=model).model.patches == 196


@pytest.mark.parametrize("context", [1, 3])
def test_the_loss_is_teacher_forcing_and_an_open_loop_path(context):
    """A predictor that returns its input has the loss of paths that stand still."""
    recipe = dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, context=context, proprio_size=0))
    learner = build_learner(recipe)

    class Still(torch.nn.Module):
        shortest = 1

        def forward(self, frames, actions):
            return frames

    learner.model.predictor = Still()
    visual = torch.randn(2, context + 3, recipe.model.visual, generator=torch.Generator().manual_seed(0))
    batch = {"visual": visual, "actions": torch.zeros(2, context + 2, 10), "state": torch.zeros(2, context + 3, 2)}

    def distance(gap):
        return ((gap.square().sum(-1) + 1).sqrt() - 1).mean()

    steps = (visual[:, 1:] - visual[:, :-1]).unfold(1, context, 1).movedim(-1, 2)
    one_step = distance(steps)
    probe = 0.3 * torch.nn.functional.smooth_l1_loss(
        learner.model.probe.read(visual), learner.model.probe.features(batch["state"]), beta=0.1
    )
    losses = [learner(batch, torch.Generator().manual_seed(seed)) for seed in range(20)]
    found = {round(float(loss - probe - one_step), 3) for loss in losses}
    wanted = {round(float(distance(visual[:, k:] - visual[:, k - 1 : k])), 3) for k in range(1, context + 1)}
    assert found == wanted and len(wanted) == context


def test_the_rate_of_samples_is_printed(data, tmp_path, capsys):
    train(SMALL, data, tmp_path, progress=True)
    assert f"{SMALL.windows(8)}/{SMALL.windows(8)}" in capsys.readouterr().err
    assert SMALL.windows(8) == 4 * 8 + 4 * 4
