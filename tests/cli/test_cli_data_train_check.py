"""The commands lead from no data to a checked model: collect, show the data, train, check, plan."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

from grasp_planner.cli.main import main
from grasp_planner.data.preview import episode_pictures

RECIPE = "--steps 3 --phases.0.batch 8 --phases.1.batch 8 --horizons 5 10 --model.width 8 --model.depth 1"


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "walls"
    words = f"collect wall --episodes 12 --steps 20 --seed 3 --workers 1 --out {folder}"
    assert main(words.split()) == 0
    return folder


def test_collecting_twice_is_collecting_once(walls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"collect wall --episodes 12 --steps 20 --seed 3 --workers 1 --out {walls}"
    before = {path: path.read_bytes() for path in walls.rglob("*") if path.is_file() and ".arrays" not in path.parts}
    assert main(words.split()) == 0
    assert "12 episodes" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    assert main([*words.split(), "--seed", "4"]) == 2
    assert "another data set" in capsys.readouterr().err


def test_info_counts_what_is_there(walls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(walls)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "episodes 12" in out and "240" in out and "WallSingle-v1" in out
    assert "statistics" in out and "actions" in out


def test_info_writes_the_same_numbers_as_json(walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "info.json"
    assert main(["data", "info", str(walls), "--out", str(out)]) == 0
    printed, content = capsys.readouterr().out, json.loads(out.read_text())
    assert content["facts"]["episodes"] == "12"
    for row in content["statistics"]:
        assert row["lowest"] <= row["mean"] <= row["highest"] and f"{row['mean']:.4g}" in printed


def test_preview_writes_one_sheet(walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheets" / "walls.png"
    assert main(f"data preview {walls} --episodes 2 --frames 3 --out {sheet}".split()) == 0
    assert str(sheet) in capsys.readouterr().out and list(sheet.parent.iterdir()) == [sheet]
    picture = imageio.imread(sheet)
    assert picture.shape[1] > picture.shape[0] > 128


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_preview_writes_an_animation_of_an_episode(
    suffix: str, walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "films" / f"walls.{suffix}"
    assert main(f"data preview {walls} --episode 3 --size 65 --out {path}".split()) == 0
    assert str(path) in capsys.readouterr().out and list(path.parent.iterdir()) == [path]
    expected = episode_pictures(walls, 3, size=65)
    assert {picture.shape for picture in expected} == {(66, 66, 3)} and len(expected) == 21
    assert np.abs(expected[0].astype(int) - expected[-1]).max() > 50, "something moves"
    if suffix == "mp4":  # the readers of imageio leave files open
        assert imageio_ffmpeg.count_frames_and_secs(str(path))[0] == len(expected)
        return
    with imageio.get_reader(path) as reader:
        frames = [frame[..., :3] for frame in reader]
    assert {frame.shape for frame in frames} == {(66, 66, 3)}
    assert 1 < len(frames) <= len(expected), "equal frames are written as one longer frame"
    for frame, picture in ((frames[0], expected[0]), (frames[-1], expected[-1])):
        assert np.abs(frame.astype(int) - picture).mean() < 8


def test_preview_of_an_episode_that_is_not_there(
    walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, said in (("--episode 12", "episodes 0 to 11, got episode 12"), ("--size 0", "--size must be")):
        assert main(f"data preview {walls} {options} --out {tmp_path / 'a.gif'}".split()) == 2
        assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_broken_data_set_is_one_line_that_names_the_file(
    walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken" / "data"
    broken.mkdir(parents=True)
    for path in (walls / "data").iterdir():
        if path.is_file():
            (broken / path.name).write_bytes(path.read_bytes()[: 100 if path.suffix == ".hdf5" else None])
    for command in ("data info", "data preview"):
        assert main([*command.split(), str(broken.parent)]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert str(broken.parent) in line


def test_train_check_plan(walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "wall-state"
    assert main(f"train wall-state --data {walls} --out {out} {RECIPE} --validation 0.2".split()) == 0
    printed = capsys.readouterr().out
    assert "open-loop errors" in printed and "3 steps (24 windows, " in printed and "per second" in printed
    assert {"config.json", "model.safetensors", "training.json", "train.toml"} <= {path.name for path in out.iterdir()}
    assert json.loads((out / "config.json").read_text())["width"] == 8

    again = f"train wall-state --data {walls} --out {out} {RECIPE} --validation 0.2".split()
    assert main(again) == 2
    assert "resume" in capsys.readouterr().err
    assert main([*again, "--resume"]) == 0
    capsys.readouterr()

    assert main(["check", str(out)]) == 0
    assert "keeps all promises" in capsys.readouterr().out

    assert main(["check", str(out), "--out", str(tmp_path / "check.json")]) == 0
    printed, content = capsys.readouterr().out, json.loads((tmp_path / "check.json").read_text())
    assert content["ok"] and content["model"] == str(out)
    assert len(content["checks"]) > 5 and all(check["name"] in printed for check in content["checks"])

    words = f"plan --task wall --model {out} planner:gd --steps 3 --horizon 10 --episodes 2 --animation none"
    assert main([*words.split(), "--out", str(tmp_path / "plan")]) == 0
    printed = capsys.readouterr().out
    assert "wall/dset/v1" in printed and "angle" not in printed


def test_settings_that_do_not_fit_each_other(walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    assert main(f"train pusht-state --data {walls} --out {out} {RECIPE} --phases.2.unroll 5".split()) == 2
    assert "7" in capsys.readouterr().err and not out.exists()
    assert main(f"train wall-state --data {walls} --out {out} --phases.0.share 0.9".split()) == 2
    assert "add up to 1" in capsys.readouterr().err and not out.exists()


def test_a_model_that_breaks_a_promise_is_reported(
    model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from grasp_planner.models.state.model import StateModel

    forward = StateModel.forward
    monkeypatch.setattr(StateModel, "forward", lambda self, s, a: forward(self, s, a) + torch.rand(()))
    assert main(["check", str(model_folder)]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out and "determinism" in out and "breaks" in out


def test_a_planner_collects_data(walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    words = f"collect wall --episodes 4 --steps 20 --workers 1 --transitions 40 --out {own} planner:gd".split()
    assert main(words) == 0
    assert main([*words, "--planner.lr", "0.3"]) == 2
    assert "another data set" in capsys.readouterr().err
    assert main(["data", "info", str(own)]) == 0
    assert "gd(lr 0.05" in " ".join(capsys.readouterr().out.split())
    out = tmp_path / "model"
    assert main(f"train wall-state --data {walls} {own} --out {out} {RECIPE} --validation 0.25".split()) == 0
    assert json.loads((out / "training.json").read_text())["data"]["episodes"] == 12  # a quarter of 16 is held out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model wall-state", "--model belongs to a planner"),
        ("--transitions 100", "--transitions belongs to a planner"),
        ("--start out/policy", "--start belongs to a planner"),
        ("--policy wall planner:gd", "give one of the two"),
        ("--steps 21 planner:gd", "multiple of 5"),
        ("planner:gdd", "did you mean 'gd'"),
    ],
)
def test_a_planner_and_a_policy_do_not_mix(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own"
    assert main(f"collect wall --episodes 2 --out {out} {words}".split()) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_rewards_and_values_are_learned_for_a_trained_model(
    walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from grasp_planner.models import LearnedReturn, load_world_model

    model, out = tmp_path / "wall-state", tmp_path / "value"
    assert main(f"train wall-state --data {walls} --out {model} {RECIPE} --validation 0.2".split()) == 0
    quick = "--recipe.reward-steps 3 --recipe.iterations 2 --recipe.states 8 --recipe.batch 8 --recipe.validation 0.2"
    assert main(f"train value --model {model} --data {walls} --out {out} {quick} --recipe.discount 0.9".split()) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "mean absolute error on held-out episodes" in printed and "the reward and the value are in" in printed
    learned, latent = LearnedReturn.from_pretrained(out), load_world_model(model).scale
    assert learned.config.discount == 0.9 and learned.value(latent[None]).shape == (1,)
    assert main(f"train Value --model {model} --data {tmp_path} --out {tmp_path / 'no'} {quick}".split()) == 2
    assert str(tmp_path) in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_a_policy_is_learned_starts_a_planner_and_is_learned_again(
    walls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from grasp_planner.models import LearnedPolicy

    first, plans, second = tmp_path / "policy", tmp_path / "plans", tmp_path / "improved"
    quick = "--recipe.steps 3 --recipe.batch 8 --recipe.horizon 4 --recipe.width 8 --recipe.validation 0.2"
    words = f"train policy --model wall-state --data {walls} {quick}"
    assert main([*words.split(), "--out", str(first)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "error of the actions on held-out episodes" in printed and "the policy is in" in printed
    assert LearnedPolicy.from_pretrained(first).config.horizon == 4
    collecting = f"collect wall --episodes 4 --steps 20 --workers 1 --transitions 2000 --start {first} --out {plans}"
    assert main([*collecting.split(), "planner:recommended"]) == 0
    assert main([*words.split(), "--plans", str(plans), "--out", str(second)]) == 0
    summary = json.loads((second / "training.json").read_text())
    assert f"from {first} " in summary["plans"]["collected_by"]["policy"]
    assert 0 < summary["plans"]["all_episodes"] <= 4
    other = words.replace("wall-state", "pusht-state")
    assert main([*other.split(), "--out", str(tmp_path / "no")]) == 2
    assert "must be (b, h, 7)" in capsys.readouterr().err and not (tmp_path / "no").exists()
