"""`grasp tune` on a packaged task with a model of one's own, and on a function of one's own."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from grasp_planner import load_planner
from grasp_planner.cli.main import main

pytest.importorskip("optuna")

MODEL = """
from dataclasses import dataclass, field
import torch


@dataclass(frozen=True)
class FreeDot:
    context: int = 1
    frameskip: int = 5
    low: torch.Tensor = field(default_factory=lambda: torch.full((10,), -1.8))
    high: torch.Tensor = field(default_factory=lambda: torch.full((10,), 1.8))
    scale: torch.Tensor = field(default_factory=lambda: torch.ones(2))

    def __call__(self, states, actions):
        return states[:, -1] + 0.2 * actions[:, -1].unflatten(-1, (5, 2)).sum(1)

    def encode(self, observations):
        return torch.as_tensor(observations["state"], dtype=torch.float32) / 10


def no_model():
    return 3


def model_for(size):
    return FreeDot()


def made():
    import neighbour

    return neighbour.model()

def losses(planner, budget, seed):
    return [float(seed), 1.0]


def interrupted(planner, budget, seed):
    raise KeyboardInterrupt


def failing(planner, budget, seed):
    return [float("nan")] if "CEM" in str(planner) else [0.5]


not_callable = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "my_task.py"
    path.write_text(MODEL)
    (tmp_path / "neighbour.py").write_text("import my_task\n\ndef model():\n    return my_task.FreeDot()\n")
    yield path
    sys.path[:] = [one for one in sys.path if one != str(tmp_path)]
    for name in ("neighbour", "my_task"):
        sys.modules.pop(name, None)


def test_a_model_of_ones_own_is_tuned_and_the_planner_file_plans(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tune"
    words = f"tune --task wall --model {mine}:FreeDot --horizon 10 --episodes 2 --planners cem gauss_newton --trials 2"
    assert main([*words.split(), "--steps", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    files = ["planner-cem.json", "planner-gauss_newton.json", "planner.json", "trials.db", "tune.json", "tune.toml"]
    assert sorted(path.name for path in out.iterdir()) == files

    content = json.loads((out / "tune.json").read_text())
    assert content["about"]["task"] == "wall/dset/v1" and content["settings"]["trials"] == 2
    assert {one["name"]: len(one["trials"]) for one in content["planners"]} == {"cem": 2, "gauss_newton": 2}
    best, other = content["planners"]
    assert content["best"] == best["name"] and best["loss"] <= other["loss"]
    assert load_planner(out / "planner.json") == load_planner(out / f"planner-{best['name']}.json")
    solved = sum(loss < 1 for loss in best["trials"][best["best_trial"]]["losses"])
    (row,) = [line for line in printed.splitlines() if line.startswith(f"│ {best['name']} ")]
    assert f"{solved} / 2" in row and f"{best['loss']:.4g}" in row

    before = (out / "tune.json").read_text()
    assert main(["tune", "--config", str(out / "tune.toml")]) == 0  # all trials are there
    assert json.loads((out / "tune.json").read_text()) == json.loads(before)
    resolved = tomllib.loads((out / "tune.toml").read_text())
    assert (resolved["task"], resolved["horizon"], resolved["model"]) == ("wall/dset/v1", 10, f"{mine}:FreeDot")

    (hint,) = [line for line in printed.splitlines() if "To measure it on test episodes: " in line]
    words = shlex.split(hint.partition("test episodes: ")[2])
    assert words[:2] == ["grasp", "plan"] and words[-1] == f"planner:{out / 'planner.json'}"
    rest = ["--episodes", "2", "--animation", "none", "--out", str(tmp_path / "plan")]
    assert main([*words[1:], *rest]) == 0  # with the same model, horizon and budget
    found = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert found["model"] == f"{mine}:FreeDot" and found["evaluations"][0]["horizon"] == 10
    assert found["evaluations"][0]["budget"]["steps"] == 2 and found["evaluations"][0]["steps"] <= 2


def test_a_python_file_may_import_its_neighbours_when_it_is_called(mine: Path, tmp_path: Path) -> None:
    words = f"tune --task wall --model {mine}:made --horizon 10 --episodes 1 --planners gd --trials 1 --steps 1"
    assert main([*words.split(), "--out", str(tmp_path / "tune")]) == 0


def test_errors_of_trials_are_printed_unchanged(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"tune --task {mine}:failing --planners gd cem --trials 1 --out {tmp_path / 'tune'}"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert "cem: 1 of 1 trials failed; trial 0: needed finite losses of at least one episode, got [nan]" in printed
    assert sorted(path.name for path in (tmp_path / "tune").glob("planner*")) == ["planner-gd.json", "planner.json"]


def test_a_function_of_ones_own_is_tuned_and_a_run_that_was_stopped_continues(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tune"
    words = f"tune --task {mine}:NAME --planners gd cem --trials 1 --seed 3 --out {out}"
    assert main(words.replace("NAME", "interrupted").split()) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (out / "tune.json").exists()
    assert main(words.replace("NAME", "losses").replace(str(out), f"{out}2").split()) == 0
    content = json.loads((tmp_path / "tune2" / "tune.json").read_text())
    assert [one["trials"][0]["losses"] for one in content["planners"]] == [[3.0, 1.0]] * 2
    assert "solved" not in capsys.readouterr().out


def test_wrong_words_are_errors_that_leave_no_folder(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none"
    broken = tmp_path / "broken.py"
    broken.write_text("\n1 / 0\n")
    for words, expected in {
        "--task no.py:losses": "no.py:losses': there is no such file",
        f"--task {mine}": "the NAME is missing",
        f"--task {mine}:loses": "did you mean 'losses'",
        f"--task {mine}:losses --horizon 10": "--horizon is for packaged tasks",
        f"--task wall --model {mine}:no_model": "needed a world model, or a function",
        f"--task wall --model {mine}:model_for": "called without arguments, it raised TypeError",
        f"--task wall --model {mine}:FreeDot --device cpu:0": "chooses its device itself",
        "--task push_t --model wall-state": "belongs to WallSingle-v1",
        f"--task push_t --model {mine}:FreeDot --horizon 7": "multiple of 5",
        f"--task {mine}:not_callable": "needed a function NAME(planner, budget, seed)",
        f"--task {mine}:losses --device cpu:0": "--device is for packaged tasks",
        f"--task {broken}:losses": "cannot be imported: ZeroDivisionError: division by zero (broken.py, line 2)",
        "--task wall --episodes 0": "at least one",
        "--task wall --planners grsp": "did you mean 'grasp'",
        "--task wall --trials 0": "at least 1 trial",
        "--task wall --horizon 7": "multiple of 5",
    }.items():
        assert main(["tune", *words.split(), "--out", str(out)]) == 2
        assert expected in capsys.readouterr().err
        assert not out.exists(), words
