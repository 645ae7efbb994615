"""Pixel models learn, resume to the bit and freeze their encoder, and a collapse is detected."""

import dataclasses

import numpy as np
import pytest
import torch
from training_data import cart

from grasp_planner import GraspPlannerError, load_world_model
from grasp_planner.data import Episodes
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.training import Phase, Recipe, train
from grasp_planner.training.latent_losses import LatentLoss, bend, decorrelation, sigreg, variance_hinge

SMALL = Recipe(
    model=LatentModelConfig(state_size=2, action_size=2, proprio_size=2, latent=4, channels=4, width=16, depth=2),
    steps=10,
    phases=(Phase(0.6, 10, 4), Phase(0.4, 15, 16, frozen=True)),
    lr=1e-2,
    average=0.5,
    validation=0.2,
    horizons=(5, 10),
)

TRANSFORMERS = dataclasses.replace(
    SMALL,
    model=dataclasses.replace(
        SMALL.model, encoder="transformer", channels=32, layers=1, predictor="modulated", width=32, latent=8
    ),
    lr=2e-3,
    latent_loss=LatentLoss(variance=0.0, decorrelation=0.0, sigreg=3.0, inverse=0.0),
)
KINDS = pytest.mark.parametrize("recipe", [SMALL, TRANSFORMERS], ids=["keypoints", "transformers"])

# After ten steps a latent hardly distinguishes states, and the loop warns about it.
pytestmark = pytest.mark.filterwarnings("ignore:the latent has collapsed")


def dots(episodes=6, steps=20, seed=0):
    """Return episodes of a dark dot on a white picture. Actions move the dot, and proprioception is its position."""
    rng = np.random.default_rng(seed)
    line = np.arange(64) + 0.5
    seen, done = [], []
    for _ in range(episodes):
        actions = rng.normal(0, 0.7, (steps, 2))
        states = np.clip(np.cumsum(np.r_[rng.uniform(15, 50, (1, 2)), actions], axis=0), 5, 59)
        gap = (line - states[:, None, None, :1]) ** 2 + (line[:, None] - states[:, None, None, 1:]) ** 2
        shade = np.exp(-gap.reshape(len(states), 64, 64) / 8)
        pixels = np.repeat((255 * (1 - shade)).astype(np.uint8)[..., None], 3, axis=3)
        seen.append({"state": states, "proprio": states, "pixels": pixels})
        done.append(actions)
    return Episodes.of(seen, done)


@pytest.fixture(scope="module")
def data():
    return dots()


def state_of(folder):
    return torch.load(folder / "training_state.pt", weights_only=True)


def test_it_trains_saves_and_reports(data, tmp_path):
    trained = train(SMALL, data, tmp_path, progress=False)
    assert set(trained.errors) == {"position", "read_position"} and set(trained.errors["position"]) == {"5", "10"}
    model = load_world_model(tmp_path)
    assert isinstance(model, LatentModel)
    assert float(model.action_std.mean()) == pytest.approx(0.7, rel=0.15)
    assert float(model.probe.mean.mean()) == pytest.approx(32, abs=8)
    # Away from the edge, the dynamics of the proprioception are linear and fitted before the first step.
    before = model.encode({"pixels": data.array("pixels")[:1][None], "proprio": [[[30.0, 30.0]]]})
    after = model(before, model.model_actions(torch.full((1, 5, 2), 0.4))[:, None])
    moved = after[0, 4:] * model.proprio_std + model.proprio_mean
    assert moved.tolist() == pytest.approx([32.0, 32.0], abs=1.0)


@KINDS
def test_resumed_in_either_phase_it_is_the_same_to_the_bit(recipe, data, tmp_path):
    whole = train(recipe, data, tmp_path / "whole", progress=False)

    class Killed(Exception):
        pass

    for killed_at in (4, 8):

        def kill(step, errors, at=killed_at):
            if step == at + 2:
                raise Killed

        folder = tmp_path / str(killed_at)
        with pytest.raises(Killed):
            train(recipe, data, folder, progress=False, checkpoint_every=killed_at, validate_every=1, callback=kill)
        assert state_of(folder)["step"] == killed_at
        resumed = train(recipe, data, folder, resume=True, progress=False)
        one, other = state_of(whole.folder), state_of(folder)
        for part in ("learner", "average"):
            assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
        assert resumed.errors == whole.errors


@KINDS
def test_a_frozen_encoder_stays_the_average(recipe, data, tmp_path):
    seen = {}

    def remember(step, errors):  # called before the step's own checkpoint is written
        if step > 1:
            seen[step - 1] = state_of(tmp_path)

    train(recipe, data, tmp_path, progress=False, checkpoint_every=1, validate_every=1, callback=remember)
    last = state_of(tmp_path)
    encoder = [name for name in last["average"] if name.startswith("encoder")]
    predictor = [name for name in last["average"] if name.startswith("predictor")]
    assert any(not torch.equal(seen[6]["average"][name], seen[5]["average"][name]) for name in encoder)
    for name in encoder:
        assert torch.equal(last["average"][name], seen[6]["average"][name])
        assert torch.equal(last["learner"][f"model.{name}"], seen[6]["average"][name])
    assert any(not torch.equal(last["average"][name], seen[6]["average"][name]) for name in predictor)


def test_the_dot_is_found_without_labels(tmp_path):
    """After forty steps on pictures without labels, the probe predicts the position from the keypoints."""
    settings = dataclasses.replace(
        SMALL,
        model=dataclasses.replace(SMALL.model, proprio_size=0, latent=4, channels=8),
        steps=40,
        phases=(Phase(1.0, 5, 12),),
        average=0.8,
        horizons=(5,),
    )
    trained = train(settings, dots(episodes=20), tmp_path, progress=False)
    assert trained.errors["read_position"]["5"]["mean"] < 6 and not trained.collapsed


def test_a_transformer_with_sigreg_finds_the_dot(tmp_path):
    """Normalised latents vary from the first step on, and the saved statistics are those of the averaged weights."""
    settings = dataclasses.replace(
        TRANSFORMERS,
        model=dataclasses.replace(TRANSFORMERS.model, proprio_size=0),
        steps=200,
        phases=(Phase(1.0, 5, 32),),
        average=0.9,
        horizons=(5,),
    )
    seen = dots(episodes=150)
    trained = train(settings, seen, tmp_path, progress=False)
    assert not trained.collapsed and trained.errors["read_position"]["5"]["mean"] < 6
    latents = load_world_model(tmp_path).encode({"pixels": seen.array("pixels")[:, None]})[:, 0]
    assert latents.mean(0).abs().max() < 0.3 and (latents.std(0).log().abs() < 0.3).all()


def test_a_collapse_is_reported(data, tmp_path):
    settings = dataclasses.replace(SMALL, steps=4, phases=(Phase(1.0, 5, 4),))
    pictures = {**data.observations, "pixels": np.zeros_like(data.array("pixels"))}
    blind = dataclasses.replace(data, observations=pictures)
    with pytest.warns(RuntimeWarning, match="the latent has collapsed"):
        assert train(settings, blind, tmp_path, progress=False).collapsed


@pytest.mark.parametrize("change", ["sigreg", "straightening", "reconstruction", "inverse"])
def test_every_term_shapes_the_encoder(change, data, tmp_path):
    settings = dataclasses.replace(SMALL, steps=1, phases=(Phase(1.0, 10, 4),))
    folders = []
    for weight in (0.0, 1.0):
        loss = dataclasses.replace(LatentLoss(inverse=0.0), **{change: weight})
        folders.append(tmp_path / str(weight))
        train(dataclasses.replace(settings, latent_loss=loss), data, folders[-1], progress=False)
    one, other = (state_of(folder)["optimiser"]["state"] for folder in folders)
    assert any(not torch.equal(one[i]["exp_avg"], other[i]["exp_avg"]) for i in range(4))


def test_probe_and_decoder_shape_nothing(data, tmp_path):
    """Other states in the data give the same encoder, since states are not used as labels."""
    other = dataclasses.replace(data, observations={**data.observations, "state": data.array("state")[::-1].copy()})
    settings = dataclasses.replace(SMALL, clip=1e9)
    train(settings, data, tmp_path / "one", progress=False)
    train(settings, other, tmp_path / "two", progress=False)
    one, two = state_of(tmp_path / "one")["average"], state_of(tmp_path / "two")["average"]
    same = [name for name in one if torch.equal(one[name], two[name])]
    assert {name for name in one if name.startswith(("encoder", "predictor"))} <= set(same)
    assert any(name.startswith("probe") for name in set(one) - set(same))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phases": (Phase(1.0, 10, 4, frozen=True),)}, "frozen phases"),
        ({"phases": (Phase(0.5, 10, 4, frozen=True), Phase(0.5, 10, 4))}, "frozen phases"),
        ({"symmetry": "push_t"}, "symmetry is for state-based models"),
        ({"phases": (Phase(1.0, 7, 4),)}, "unrolls must be multiples of 5"),
    ],
)
def test_recipes_that_make_no_sense(change, message):
    with pytest.raises(GraspPlannerError, match=message):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"variance": -1.0}, "finite number >= 0"), ({"measures": "push"}, "did you mean 'push_t'")],
)
def test_losses_that_make_no_sense(change, message):
    with pytest.raises(GraspPlannerError, match=message):
        LatentLoss(**change)


def test_data_that_do_not_suit_the_model(data, tmp_path):
    with pytest.raises(GraspPlannerError, match=r"'proprio': \(3,\).*the data have .*'proprio': \(2,\)"):
        wrong = dataclasses.replace(SMALL.model, proprio_size=3)
        train(dataclasses.replace(SMALL, model=wrong), data, tmp_path / "a", progress=False)
    with pytest.raises(GraspPlannerError, match="pixels"):
        train(SMALL, cart(), tmp_path / "b", progress=False)


def test_regularisers_at_their_extremes():
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(4000, 3, generator=generator)
    assert float(variance_hinge(full, 0.9)) == 0 and float(variance_hinge(0.1 * full, 0.9)) == pytest.approx(
        0.8, abs=0.01
    )
    assert float(decorrelation(full)) < 0.01 and float(decorrelation(full, full)) == pytest.approx(1, abs=0.01)
    assert float(sigreg(full, generator)) < 0.05 * float(sigreg(full.abs(), generator))
    assert float(sigreg(full, generator)) < 0.05 * float(sigreg(0.5 * full, generator))
    turn = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    assert float(bend(turn)) == pytest.approx(1.5) and float(bend(turn[:, :2])) == 0
