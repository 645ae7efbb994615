"""Uploads to the Hugging Face Hub and downloads, by the real library, with a Hub on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import TOKEN, FakeHub

from grasp_planner import CEM, GD, GraspPlannerError, MultiStart, load_planner, load_world_model, save_planner
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.tasks import task
from grasp_planner.control.planner_hub import push_planner_to_hub
from grasp_planner.core.errors import MissingExtraError
from grasp_planner.models import (
    StateModel,
    StateModelConfig,
    checkpoints,
    download_model,
    download_planner,
    push_to_hub,
)
from grasp_planner.models.hub import FILES, is_repository
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.model import LatentModel

CONFIG = StateModelConfig(state_size=3, action_size=2, width=8)
SMALL_PICTURES = LatentModelConfig(state_size=2, action_size=2, width=4, channels=2)


@pytest.fixture
def library():
    pytest.importorskip("huggingface_hub.constants", reason="the extra `hub` is not installed")
    return pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(library, tmp_path, monkeypatch):
    """A Hub without repositories, an empty cache, and a login."""
    server = FakeHub()
    constants = library.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def saved(tmp_path):
    return StateModel(CONFIG).save_pretrained(tmp_path / "out" / "model")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def metadata(library, hub: FakeHub, name: str) -> dict:
    return library.ModelCard(hub.repositories[name].files["README.md"].decode()).data.to_dict()


def test_an_uploaded_folder_is_the_model_that_is_loaded(hub, saved):
    address = push_to_hub(saved, "me/wall")
    commit, _ = hub.repositories["me/wall"].commits[-1]
    assert address == f"{hub.address}/me/wall/commit/{commit}"
    model, again = load_world_model(saved), load_world_model("me/wall")
    assert isinstance(again, StateModel) and again.config == CONFIG
    latents, actions = torch.randn(4, 1, len(model.scale)), torch.randn(4, 1, len(model.low))
    assert torch.equal(model(latents, actions), again(latents, actions))
    assert StateModel.from_pretrained("me/wall").config == CONFIG


def test_models_in_memory_are_uploaded(hub):
    LatentModel(SMALL_PICTURES).push_to_hub("me/pictures", private=True)
    assert hub.repositories["me/pictures"].private
    assert LatentModel.from_pretrained("me/pictures").config == SMALL_PICTURES
    StateModel(CONFIG).push_to_hub("team/state", license="apache-2.0")
    assert set(hub.repositories["team/state"].files) == {"config.json", "model.safetensors", "README.md"}
    assert not hub.repositories["team/state"].private


def test_only_the_files_of_a_model_leave_the_machine(hub, saved):
    for name in ("training_state.pt", "secret.txt", ".env", "model.py"):
        (saved / name).write_text("mine")
    (saved / "tensorboard").mkdir()
    (saved / "tensorboard" / "config.json").write_text("{}")
    (saved / "planner.json").write_text("{}")
    before = contents(saved / "tensorboard") | {path.name: path.read_bytes() for path in saved.glob("*.*")}
    push_to_hub(saved, "me/wall")
    assert set(hub.repositories["me/wall"].files) == {"config.json", "model.safetensors", "README.md", "planner.json"}
    after = contents(saved / "tensorboard") | {path.name: path.read_bytes() for path in saved.glob("*.*")}
    assert after == before, "the folder is not changed"


def test_only_the_files_of_a_model_are_downloaded(hub, saved):
    hub.publish("me/wall", {**contents(saved), "modeling.py": b"raise SystemExit", "pytorch_model.bin": b"pickle"})
    folder = download_model("me/wall")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"} < set(FILES)
    assert isinstance(load_world_model(folder), StateModel)


def test_a_card_gets_the_metadata_of_the_hub(library, hub):
    push_to_hub("pusht-state-frameskip-1", "me/push", license="mit")
    files = hub.repositories["me/push"].files
    assert metadata(library, hub, "me/push") == {
        "library_name": "grasp-planner",
        "license": "mit",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["world-model", "planning", "model-predictive-control"],
    }
    own, uploaded = (checkpoints()["pusht-state-frameskip-1"] / "README.md").read_text(), files["README.md"].decode()
    assert "[`pusht-state`](../pusht-state/README.md)" in own and "README.md)" not in uploaded
    assert uploaded.endswith(own.replace("[`pusht-state`](../pusht-state/README.md)", "`pusht-state`"))
    assert json.loads(files["training.json"])["data"]["environment_steps"] > 0


def test_metadata_of_a_card_are_kept(library, hub, saved):
    (saved / "README.md").write_text("---\nlicense: cc-by-4.0\ntags:\n- robot\nlanguage: en\n---\n\n# Mine\n\nText.\n")
    push_to_hub(saved, "me/wall")
    kept = metadata(library, hub, "me/wall")
    assert (kept["license"], kept["tags"], kept["language"]) == ("cc-by-4.0", ["robot"], "en")
    assert kept["library_name"] == "grasp-planner"
    assert hub.repositories["me/wall"].files["README.md"].decode().endswith("---\n\n# Mine\n\nText.\n")
    push_to_hub(saved, "me/wall", license="mit")
    assert metadata(library, hub, "me/wall")["license"] == "mit"


def test_broken_metadata_of_a_card_are_reported(hub, saved):
    (saved / "README.md").write_text("---\n- a list\n---\n\n# Mine\n")
    with pytest.raises(GraspPlannerError, match=r"README\.md.*not readable as model card"):
        push_to_hub(saved, "me/wall")
    assert hub.requests == []


def test_a_trained_model_without_a_card_gets_one(hub, saved):
    shutil.copy(checkpoints()["wall-state"] / "training.json", saved)
    push_to_hub(saved, "me/wall")
    card = hub.repositories["me/wall"].files["README.md"].decode()
    assert "# wall\n" in card and 'load_world_model("me/wall")' in card and "`StateModel`" in card
    for row in (
        "| latent | 3 |",
        "| action | 10: 5 environment actions of 2 numbers |",
        "| environment steps | state_0 | state_1 |",
        "| 25 | 0.155 / 0.04 / 0.311 | 0.195 / 0.0648 / 0.405 |",
        "| data | 190,000 environment steps (3,800 episodes) of `grasp_planner/WallSingle-v1`; 200 more episodes are"
        " held out |",
        "| training | seed 0, 10,000 optimiser steps |",
        "| time | 148 s of wall-clock time |",
    ):
        assert row in card.splitlines()


def test_a_broken_summary_is_reported(hub, saved):
    (saved / "training.json").write_text('{"steps": "many"}')
    with pytest.raises(GraspPlannerError, match=r"training\.json is not as `grasp train` writes it"):
        push_to_hub(saved, "me/wall")


def test_a_new_upload_replaces_the_model_and_the_old_commit_stays(hub, saved, tmp_path):
    shutil.copy(checkpoints()["wall-state"] / "training.json", saved)
    push_to_hub(saved, "me/wall")
    first, _ = hub.repositories["me/wall"].commits[-1]
    other = StateModelConfig(state_size=2, action_size=1, width=4)
    push_to_hub(StateModel(other).save_pretrained(tmp_path / "other"), "me/wall")
    assert "training.json" not in hub.repositories["me/wall"].files, "it belongs to another model"
    assert StateModel.from_pretrained("me/wall").config == other
    assert StateModel.from_pretrained(download_model("me/wall", revision=first)).config == CONFIG


def test_a_downloaded_model_is_found_without_a_connection(hub, saved, library, monkeypatch):
    push_to_hub(saved, "me/wall")
    load_world_model("me/wall")
    hub.stop()
    assert load_world_model("me/wall").frameskip == 5
    monkeypatch.setattr(library.constants, "HF_HUB_OFFLINE", True)
    assert load_world_model("me/wall").frameskip == 5
    with pytest.raises(
        GraspPlannerError, match="there is no folder me/other here, .*cannot be reached.*HF_HUB_OFFLINE"
    ):
        load_world_model("me/other")


def test_without_a_connection_an_error_says_so(hub, saved, library, monkeypatch):
    hub.stop()
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library tries for 20 seconds
    with pytest.raises(GraspPlannerError, match="there is no folder me/wall here, .*Hub cannot be reached"):
        load_world_model("me/wall")
    with pytest.raises(GraspPlannerError, match="uploading to 'me/wall' .*check the connection, and try again"):
        push_to_hub(saved, "me/wall")
    monkeypatch.setattr(library.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(GraspPlannerError, match="uploading to 'me/wall' .*Hub cannot be reached"):
        push_to_hub(saved, "me/wall")


def test_without_the_library_the_extra_is_named(saved, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    for act in (
        lambda: load_world_model("me/wall"),
        lambda: StateModel.from_pretrained("me/wall"),
        lambda: download_model("me/wall"),
        lambda: push_to_hub(saved, "me/wall"),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'grasp-planner\[hub\]'"):
            act()
    assert load_world_model(str(saved)).frameskip == 5


def test_a_repository_without_a_model_of_ours(hub):
    hub.publish("me/empty", {"README.md": b"# Nothing"})
    hub.publish("me/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"large"})
    with pytest.raises(GraspPlannerError, match=r"no model of grasp-planner, which is a config\.json and"):
        load_world_model("me/empty")
    with pytest.raises(GraspPlannerError, match="no model of grasp-planner, since its config.json has no field 'kind'"):
        load_world_model("me/bert")
    assert not [one for one in hub.requests if one.endswith("model.safetensors")], "nothing else is downloaded"


def test_weights_of_the_hub_are_not_unpickled(hub, saved, tmp_path):
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return marker.touch, ()

    torch.save(Payload(), saved / "model.safetensors")
    hub.publish("me/wall", contents(saved))
    with pytest.raises(GraspPlannerError, match="not a whole safetensors file"):
        load_world_model("me/wall")
    assert not marker.exists()


def test_refusals_of_the_hub_say_what_to_do(hub, saved, monkeypatch):
    with pytest.raises(GraspPlannerError, match="me/nothing.*no such repository: check the name.*hf auth login"):
        load_world_model("me/nothing")
    hub.publish("me/wall", contents(saved))
    with pytest.raises(GraspPlannerError, match="no such branch, tag or commit"):
        download_model("me/wall", revision="v9")
    hub.repositories["me/wall"].gated = True
    with pytest.raises(GraspPlannerError, match="access must be granted: ask for it on the page"):
        load_world_model("me/wall")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(GraspPlannerError, match="uploading to 'me/new' .*hf auth login"):
        push_to_hub(saved, "me/new")
    assert "me/new" not in hub.repositories


def test_a_private_repository_needs_a_token(hub, saved, monkeypatch):
    push_to_hub(saved, "me/wall", private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(GraspPlannerError, match="if it is private, log in"):
        load_world_model("me/wall")


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_a_broken_model_is_not_uploaded(hub, saved, broken):
    (saved / broken).write_bytes(b"{")
    with pytest.raises(GraspPlannerError, match=broken.replace(".", r"\.")):
        push_to_hub(saved, "me/wall")
    (saved / broken).unlink()
    with pytest.raises(GraspPlannerError, match=broken.replace(".", r"\.")):
        push_to_hub(saved, "me/wall")
    with pytest.raises(GraspPlannerError, match="needed a folder with config.json"):
        push_to_hub("ball-nav", "me/wall")
    assert hub.requests == []


def test_a_folder_comes_before_the_hub(hub, saved, tmp_path):
    assert load_world_model("out/model").frameskip == 5  # the folder that the fixture made
    with pytest.raises(GraspPlannerError, match="no folder out/modle"):  # a typing error, and not a repository
        load_world_model("out/modle")
    assert hub.requests == []


@pytest.mark.parametrize(
    "name", ["wall", "a/b/c", "./a/b", "/a/b", "~/a", "a/", "/b", "../b", "a b/c", "", Path("a/b")]
)
def test_other_names_are_not_looked_up(name):
    assert not is_repository(name)


@pytest.mark.parametrize("name", ["wall", "a/b/c", "me/", "me/wall/config.json"])
def test_names_of_repositories_are_checked(name, saved):
    with pytest.raises(GraspPlannerError, match="needed a repository of the Hub as 'owner/name'"):
        download_model(name)
    with pytest.raises(GraspPlannerError, match="needed a repository of the Hub as 'owner/name'"):
        push_to_hub(saved, name)


def test_the_world_of_a_model_of_the_hub_is_known(hub):
    push_to_hub("wall-state", "me/wall")
    assert model_for(task("wall"), "me/wall") == "me/wall"
    with pytest.raises(GraspPlannerError, match="belongs to WallSingle-v1"):
        model_for(task("push_t"), "me/wall")


def test_the_command_line_takes_a_model_of_the_hub(hub, saved, capsys):
    from grasp_planner.cli.main import main

    push_to_hub(saved, "me/wall")
    assert main(["check", "me/wall"]) == 0
    assert "me/wall keeps all promises" in capsys.readouterr().out


PLANNER = MultiStart(GD(lr=0.3), starts=4, start_std=0.5)


@pytest.fixture
def planner_file(tmp_path):
    return save_planner(PLANNER, tmp_path / "tuned.json", {"task": "wall", "loss": 0.25})


def test_an_uploaded_planner_is_the_planner_that_is_loaded(hub, planner_file):
    address = push_planner_to_hub(planner_file, "me/planner")
    commit, files = hub.repositories["me/planner"].commits[-1]
    assert address == f"{hub.address}/me/planner/commit/{commit}"
    assert files == {"planner.json": planner_file.read_bytes()}, "with the origin of the settings, and nothing else"
    assert load_planner("me/planner") == PLANNER
    assert load_planner(download_planner("me/planner")) == PLANNER


def test_a_planner_is_added_to_the_repository_of_a_model(hub, saved, planner_file):
    push_to_hub(saved, "me/wall", private=True)
    before = hub.repositories["me/wall"].files
    push_planner_to_hub(str(planner_file), "me/wall")
    assert hub.repositories["me/wall"].files == {**before, "planner.json": planner_file.read_bytes()}
    assert hub.repositories["me/wall"].private
    asked = len(hub.requests)
    assert load_planner("me/wall") == PLANNER
    assert not [one for one in hub.requests[asked:] if one.startswith("GET") and one.endswith(".safetensors")]
    push_to_hub(saved, "me/wall")
    with pytest.raises(GraspPlannerError, match=r"the repository holds no planner, which is a planner\.json"):
        load_planner("me/wall")  # it belonged to the earlier model


def test_a_revision_names_one_upload_of_a_planner(hub, planner_file, tmp_path):
    push_planner_to_hub(planner_file, "me/planner")
    first, _ = hub.repositories["me/planner"].commits[-1]
    push_planner_to_hub(save_planner(CEM(samples=50), tmp_path / "other.json"), "me/planner")
    assert load_planner("me/planner") == CEM(samples=50)
    assert load_planner(download_planner("me/planner", revision=first)) == PLANNER
    with pytest.raises(GraspPlannerError, match="no such branch, tag or commit"):
        download_planner("me/planner", revision="v9")


def test_a_downloaded_planner_is_found_without_a_connection(hub, planner_file, library, monkeypatch):
    push_planner_to_hub(planner_file, "me/planner")
    load_planner("me/planner")
    hub.stop()
    monkeypatch.setattr(library.constants, "HF_HUB_OFFLINE", True)
    assert load_planner("me/planner") == PLANNER
    with pytest.raises(GraspPlannerError, match="cannot be reached.*HF_HUB_OFFLINE"):
        load_planner("me/other")


def test_no_broken_planner_is_uploaded_or_loaded(hub, tmp_path):
    (tmp_path / "broken.json").write_text('{"schema": 1, "planner": {"name": "cem", "samples": "all"}}')
    with pytest.raises(GraspPlannerError, match=r"broken\.json: setting 'samples' of cem"):
        push_planner_to_hub(tmp_path / "broken.json", "me/planner")
    with pytest.raises(GraspPlannerError, match=r"missing\.json: there is no such JSON file"):
        push_planner_to_hub("missing.json", "me/planner")
    assert hub.requests == []
    hub.publish("me/planner", {"planner.json": (tmp_path / "broken.json").read_bytes()})
    with pytest.raises(GraspPlannerError, match=r"planner\.json: setting 'samples' of cem"):
        load_planner("me/planner")


def test_paths_of_planner_files_are_not_looked_up(hub, planner_file, tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("nowhere/planner.json", "runs/planner", Path("me/planner"), "planner.json"):
        with pytest.raises(GraspPlannerError, match="there is no such JSON file"):
            load_planner(name)
    with pytest.raises(GraspPlannerError, match="needed a repository of the Hub as 'owner/name'"):
        push_planner_to_hub(planner_file, "planner")
    assert hub.requests == []


def test_without_the_library_planners_of_the_hub_name_the_extra(planner_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    for act in (lambda: load_planner("me/planner"), lambda: push_planner_to_hub(planner_file, "me/planner")):
        with pytest.raises(MissingExtraError, match=r"pip install 'grasp-planner\[hub\]'"):
            act()
    assert load_planner(planner_file) == PLANNER
