"""The training loop learns, writes the documented files, and raises clear errors."""

import csv
import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from training_data import CART, cart, push_t_like

from grasp_planner import GraspPlannerError
from grasp_planner.core.errors import MissingExtraError
from grasp_planner.data import Episodes
from grasp_planner.models import StateModel, StateModelConfig, check_world_model, load_world_model
from grasp_planner.training import Phase, recipe, train


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_learns_what_a_linear_model_cannot(tmp_path):
    untrained = train(dataclasses.replace(CART, steps=1), cart(60), tmp_path / "one", progress=False)
    longer = dataclasses.replace(CART, steps=400)
    trained = train(longer, cart(60), tmp_path / "many", progress=False)
    before = untrained.errors["state_1"]["10"]["mean"]
    after = trained.errors["state_1"]["10"]["mean"]
    assert after < 0.3 * before, (before, after)
    assert after < 0.05 and not trained.collapsed and trained.steps == 400


def test_what_is_written(tmp_path):
    seen = {}
    result = train(
        CART, cart(), tmp_path / "out", progress=False, log_every=10, validate_every=20, checkpoint_every=20,
        callback=seen.__setitem__,
    )  # fmt: skip
    names = sorted(path.name for path in result.folder.iterdir())
    assert names == [
        "config.json",
        "log.csv",
        "model.safetensors",
        "training.json",
        "training_state.pt",
        "validation.csv",
    ]
    log = rows(result.folder / "log.csv")
    assert [int(row["step"]) for row in log] == [10, 20, 30, 40]
    assert [int(row["unroll"]) for row in log] == [1, 1, 10, 10]
    validation = rows(result.folder / "validation.csv")
    assert [int(row["step"]) for row in validation] == [20, 40] == sorted(seen)
    assert seen[40]["state_0_10_mean"] == result.errors["state_0"]["10"]["mean"]

    written = json.loads((result.folder / "training.json").read_text())
    assert written["recipe"] == json.loads(json.dumps(CART.as_dict()))
    assert written["data"]["episodes"] == 16 and written["data"]["held_out_episodes"] == 4
    assert written["data"]["environment_steps"] == 16 * 30
    assert written["errors"] == result.errors and written["steps"] == 40 and written["seconds"] > 0
    assert "torch" in written["versions"]

    model = load_world_model(result.folder)
    report = check_world_model(model, {"state": torch.zeros(2, 1, 2)})
    assert report.ok, str(report)


def test_the_average_is_saved_and_differs_from_the_last_weights(tmp_path):
    result = train(CART, cart(), tmp_path, progress=False)
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    saved = load_world_model(result.folder)
    assert isinstance(saved, StateModel)
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, state["average"][name])
    assert any(not torch.equal(state["average"][k], state["learner"][f"model.{k}"]) for k in state["average"])


def test_statistics_come_from_the_training_data(tmp_path):
    result = train(CART, cart(200), tmp_path, progress=False)
    model = load_world_model(result.folder)
    assert isinstance(model, StateModel)
    assert float(model.action_std) == pytest.approx(1 / np.sqrt(3), rel=0.02)
    bounds = model.environment_actions(torch.stack([model.low, model.high]))
    assert torch.allclose(bounds[0], torch.tensor(-1.0), atol=0.01)
    assert torch.allclose(bounds[1], torch.tensor(1.0), atol=0.01)


def test_mirror_images_make_action_statistics_symmetric(tmp_path):
    config = StateModelConfig(state_size=7, action_size=2, features="push_t", width=8, depth=1, octaves=1)
    settings = dataclasses.replace(
        CART, model=config, steps=3, phases=(Phase(1.0, 5, 8),), symmetry="push_t", horizons=(5, 20)
    )
    result = train(settings, push_t_like(), tmp_path, progress=False)
    model = load_world_model(result.folder)
    assert isinstance(model, StateModel)
    assert model.action_mean.tolist() == [0, 0] and torch.equal(model.low, -model.high)
    assert float(model.action_std[0]) == float(model.action_std[1])
    assert result.errors["pusher_px"]["20"]["mean"] < 1e-2, "the pusher is linear, so exact without training"
    assert sorted(result.errors) == ["angle_deg", "block_px", "pusher_px"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    torch.manual_seed(1)
    one = train(CART, cart(), tmp_path / "1", progress=False)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    two = train(CART, cart(), tmp_path / "2", progress=False)
    assert torch.equal(before, torch.get_rng_state()), "the global random state moved"
    assert (one.folder / "model.safetensors").read_bytes() == (two.folder / "model.safetensors").read_bytes()
    other = train(dataclasses.replace(CART, seed=1), cart(), tmp_path / "3", progress=False)
    assert (one.folder / "model.safetensors").read_bytes() != (other.folder / "model.safetensors").read_bytes()


def test_mixed_precision_trains(tmp_path):
    result = train(dataclasses.replace(CART, precision="bfloat16"), cart(), tmp_path, progress=False)
    model = load_world_model(result.folder)
    assert model.scale.dtype == torch.float32


def test_one_network_evaluation_for_a_block(tmp_path):
    settings = dataclasses.replace(
        CART, model=dataclasses.replace(CART.model, substeps=1), phases=(Phase(1.0, 10, 16),)
    )
    result = train(settings, cart(), tmp_path, progress=False)
    assert check_world_model(load_world_model(result.folder)).ok


def test_a_diffusion_model_of_push_t_trains(tmp_path):
    model = StateModelConfig(7, 2, features="push_t_diffusion", substeps=1, width=16, depth=2, octaves=0)
    mine = dataclasses.replace(CART, model=model, phases=(Phase(1.0, 10, 32),), symmetry="push_t")
    done = train(mine, push_t_like(), tmp_path / "out", progress=False, log_every=1)
    assert set(done.errors) == {"pusher_px", "block_px", "angle_deg"}
    assert done.errors["pusher_px"]["10"]["mean"] < 0.1, "linear, in closed form"
    losses = [float(row["loss"]) for row in rows(tmp_path / "out" / "log.csv")]
    assert len(losses) == CART.steps and np.mean(losses[-10:]) < np.mean(losses[:10])
    loaded = load_world_model(tmp_path / "out")
    assert isinstance(loaded, StateModel) and loaded.denoiser is not None and check_world_model(loaded).ok


def test_a_collapsed_latent_is_reported(tmp_path):
    still = Episodes.of([{"state": np.full((31, 2), 3.0)}] * 6, [np.zeros((30, 1))] * 6)
    with pytest.warns(RuntimeWarning, match="collapsed"):
        result = train(dataclasses.replace(CART, steps=2), still, tmp_path, progress=False)
    assert result.collapsed and json.loads((tmp_path / "training.json").read_text())["collapsed"]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    train(CART, cart(), tmp_path, progress=False, tensorboard=True, log_every=20)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_weights_and_biases_without_a_connection(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    for name, value in {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    train(CART, cart(), tmp_path, progress=False, wandb=True, log_every=20)
    train(CART, cart(), tmp_path, progress=False, wandb=True, resume=True)
    name = (tmp_path / "wandb_run.txt").read_text()
    runs = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert [path.name for path in runs] == [f"run-{name}.wandb"] * 2, "a resumed training continues its run"
    logged = runs[0].read_bytes()
    assert all(word in logged for word in (b"gradient_norm", b"state_0_10_mean", b"weight_decay", b"grasp-planner"))


def test_without_wandb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"grasp-planner\[wandb\]"):
        train(CART, cart(), tmp_path, progress=False, wandb=True)


def test_the_progress_bar_does_not_write_to_standard_output(tmp_path, capsys):
    train(dataclasses.replace(CART, steps=4), cart(), tmp_path, progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "160/160" in captured.err and "windows" in captured.err


class TestErrors:
    def test_data_of_other_sizes(self, tmp_path):
        with pytest.raises(GraspPlannerError, match="states of size 7 and actions of size 2, the data have 2 and 1"):
            train(recipe("pusht-state"), cart(steps=90), tmp_path, progress=False)

    def test_episodes_that_are_too_short(self, tmp_path):
        with pytest.raises(GraspPlannerError, match="no window fits"):
            train(CART, cart(steps=8), tmp_path, progress=False)

    def test_horizons_longer_than_the_held_out_episodes(self, tmp_path):
        with pytest.raises(GraspPlannerError, match="no window fits"):
            train(dataclasses.replace(CART, horizons=(50,)), cart(), tmp_path, progress=False)

    def test_a_folder_that_holds_a_training(self, tmp_path):
        train(CART, cart(), tmp_path, progress=False)
        before = (tmp_path / "model.safetensors").read_bytes()
        with pytest.raises(GraspPlannerError, match="already holds a training"):
            train(dataclasses.replace(CART, seed=5), cart(), tmp_path, progress=False)
        assert (tmp_path / "model.safetensors").read_bytes() == before

    def test_an_output_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(GraspPlannerError, match="folder that can be written"):
            train(CART, cart(), tmp_path / "file", progress=False)

    def test_nan_in_the_data(self, tmp_path):
        data = cart()
        data.observations["state"][100] = np.nan
        with pytest.raises(GraspPlannerError, match="NaN or infinity in 'state'"):
            train(CART, data, tmp_path, progress=False)

    def test_a_training_that_blows_up(self, tmp_path):
        explosive = dataclasses.replace(CART, lr=1e30, clip=1e30)
        with pytest.raises(GraspPlannerError, match="no longer finite"):
            train(explosive, cart(), tmp_path, progress=False, log_every=1)
        assert not (tmp_path / "training_state.pt").exists(), "a broken checkpoint was written"

    def test_data_that_are_not_there(self, tmp_path):
        with pytest.raises(GraspPlannerError, match="nothing-here"):
            train(CART, tmp_path / "nothing-here", tmp_path / "out", progress=False)
