"""Loading of saved models: names, folders, and broken files."""

import json
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from grasp_planner import GraspPlannerError
from grasp_planner.models import StateModel, StateModelConfig, check_world_model, checkpoints, load_world_model

CONFIG = StateModelConfig(state_size=3, action_size=2, width=8, goal_weights=(1.0, 0.5, 0.0))


@pytest.fixture
def saved(tmp_path):
    return StateModel(CONFIG).save_pretrained(tmp_path / "model")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.parametrize("name", sorted(checkpoints()))
def test_every_packaged_checkpoint_opens_and_keeps_its_promises(name):
    model = load_world_model(name)
    report = check_world_model(model)
    assert report.ok, str(report)
    folder = checkpoints()[name]
    assert (folder / "README.md").is_file(), "a checkpoint comes with a model card"
    assert (folder / "training.json").is_file(), "and with its settings"
    allowed = 10e6 if name == "pusht-lewm" else 8e6  # bytes
    assert sum(file.stat().st_size for file in folder.iterdir()) < allowed


def test_pusht_state_is_packaged():
    assert "pusht-state" in checkpoints()


def test_a_folder_opens_by_path_and_by_string(saved):
    for where in (saved, str(saved)):
        model = load_world_model(where)
        assert isinstance(model, StateModel) and model.config == CONFIG
        assert all(p.device.type == "cpu" for p in model.parameters())


def test_a_name_that_is_nearly_right_is_suggested():
    with pytest.raises(GraspPlannerError, match="did you mean 'pusht-state'"):
        load_world_model("pusht-stat")


def test_no_such_folder(tmp_path):
    with pytest.raises(GraspPlannerError, match="no folder .*nowhere"):
        load_world_model(tmp_path / "nowhere")
    with pytest.raises(GraspPlannerError, match="no folder .*nowhere"):
        load_world_model(str(tmp_path / "nowhere"))


def test_a_file_is_not_a_checkpoint(saved):
    with pytest.raises(GraspPlannerError, match="is a folder"):
        load_world_model(saved / "model.safetensors")


def test_missing_files(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(GraspPlannerError, match="needs model.safetensors"):
        load_world_model(saved)
    (saved / "config.json").unlink()
    with pytest.raises(GraspPlannerError, match="needs config.json"):
        load_world_model(saved)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(saved, keep):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(GraspPlannerError, match="not a whole safetensors file"):
        load_world_model(saved)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"x"', "\x00\x01"])
def test_broken_config(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(GraspPlannerError, match="config.json"):
        load_world_model(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "schema 1, got 99"),
        ({"kind": "stat"}, "unknown kind of model .* did you mean 'state'"),
        ({"kind": None}, "unknown kind of model"),
        ({"width": 9}, "must be"),
        ({"width": "wide"}, "field 'width': needed a whole number, got 'wide'"),
        ({"features": "cubes"}, "unknown features"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
        ({"goal_weights": [1.0]}, "goal_weights"),
    ],
)
def test_a_config_that_does_not_fit(saved, change, message):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(GraspPlannerError, match=message):
        load_world_model(saved)


def test_a_field_that_is_missing(saved):
    config = json.loads((saved / "config.json").read_text())
    del config["depth"]
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(GraspPlannerError, match=r"missing \['depth'\]"):
        load_world_model(saved)


def _drop(tensors):
    del tensors["low"]


def _add(tensors):
    tensors["extra"] = torch.zeros(1)


def _poison(tensors):
    tensors["low"][0] = torch.nan


def _reshape(tensors):
    tensors["low"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "missing: low"),
        (_add, "unknown tensors: extra"),
        (_poison, "low holds NaN"),
        (_reshape, r"low must be \(10,\), got \(3,\)"),
    ],
)
def test_weights_that_do_not_fit(saved, change, message):
    tensors = load_file(saved / "model.safetensors")
    change(tensors)
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(GraspPlannerError, match=message):
        load_world_model(saved)


def test_pickles_are_never_read(saved, tmp_path):
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return marker.touch, ()

    torch.save(Payload(), saved / "model.safetensors")
    with pytest.raises(GraspPlannerError, match="not a whole safetensors file"):
        load_world_model(saved)
    assert not marker.exists()


def test_saving_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GraspPlannerError, match="can be written"):
        StateModel(CONFIG).save_pretrained(tmp_path / "file" / "model")


def test_saving_over_a_model_replaces_it(saved):
    other = StateModelConfig(state_size=2, action_size=1, width=4)
    StateModel(other).save_pretrained(saved)
    model = load_world_model(saved)
    assert isinstance(model, StateModel) and model.config == other
