"""A full disk ends a command with one clear error; when there is room, the same command continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli_bench import SUITE

from full_disk import outcomes
from grasp_planner.cli.main import main

GRASP = [sys.executable, "-m", "grasp_planner"]
LOADING = "--steps 4 --phases.0.batch 8 --phases.1.batch 8 --model.width 16 --horizons 5 --checkpoint-every 2"


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of the wall, with its unpacked arrays."""
    from grasp_planner.data import read
    from grasp_planner.data.collecting import collect

    folder = collect("wall", 20, tmp_path_factory.mktemp("walks") / "wall", steps=20, workers=1, progress=False)
    read(folder)
    return folder


def check(limits: list[int], words: str, again: str | None, files: set[str], figure) -> None:
    """Run a command under limits, each of which is too small for some file of the command, and check the outcomes."""
    for found in outcomes(limits, words, again):
        assert found.status == 2, found
        assert len(found.errors) == 1 and found.errors[0].startswith("grasp: error: "), found
        assert "File too large" in found.errors[0] or "is the disk full?" in found.errors[0], found
        assert not found.hidden, found
        assert found.status_after == 0 and not found.errors_after and files == set(found.files_after), found
        figure("commands ended by a full disk")


def test_collect(figure) -> None:
    limits = [0, 100, 1000, 3000, 30_000, 100_000]
    files = {"data", "data/main_data.hdf5", "data/metadata.json"}
    check(limits, "collect wall --episodes 50 --out OUT --workers 1", None, files, figure)


def test_collect_when_only_the_whole_data_set_does_not_fit(figure) -> None:
    files = {"data", "data/main_data.hdf5", "data/metadata.json"}
    check([200_000], "collect wall --episodes 70 --steps 50 --out OUT --workers 1", None, files, figure)


def test_collect_with_several_processes(figure) -> None:
    files = {"data", "data/main_data.hdf5", "data/metadata.json"}
    check([30_000], "collect wall --episodes 90 --out OUT --workers 2", None, files, figure)


def test_train(walks: Path, figure) -> None:
    words = f"train wall-state --data {walks} --out OUT {LOADING}"
    files = {"config.json", "log.csv", "model.safetensors", "train.toml", "training.json", "training_state.pt"}
    files.add("validation.csv")
    check([0, 100, 1000, 8000, 16_000], words, None, files, figure)


def test_plan(model_folder: Path, figure) -> None:
    words = f"plan --model {model_folder} --horizon 10 --steps 1 --episodes 1 --threads 1 --out OUT planner:gd"
    again = f"{words} --animation none"
    check([0, 1000, 10_000, 60_000], words, again, {"plan.json", "plan.npz", "plan.toml", "planning.png"}, figure)


def test_bench(model_folder: Path, tmp_path: Path, figure) -> None:
    suite = tmp_path / "quick.toml"
    suite.write_text(SUITE.format(model=model_folder).partition('[[arms]]\nname = "GRASP"')[0])
    files = {"suite.json", "sweep.jsonl", "episodes.jsonl", "timed.jsonl", "shown.jsonl"}
    check([0, 1000, 2500, 4000], f"bench {suite} --out OUT --engine serial", None, files, figure)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "check MODEL"])
def test_an_output_that_is_full(words: str, unbuffered: str, model_folder: Path) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [*GRASP, *words.replace("MODEL", str(model_folder)).split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == "grasp: error: the output: No space left on device"
        assert "Traceback" not in done.stderr and "ignored" not in done.stderr
        done = subprocess.run([*command, "x"], stdout=full, stderr=full, check=False, env=environment)
        assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_device_is_not_an_output_file(model_folder: Path) -> None:
    done = subprocess.run([*GRASP, "check", str(model_folder), "--out", "/dev/full"], capture_output=True, check=False)
    assert done.returncode == 2 and b"/dev/full, which is a folder or a device" in done.stderr
    assert Path("/dev/full").is_char_device()


def test_train_saves_on_ctrl_c(walks: Path, tmp_path: Path) -> None:
    """Ctrl-C comes before the first checkpoint is due. `--resume` gives the result of an uninterrupted training."""
    changes = "--phases.0.batch 8 --phases.1.batch 8 --model.width 16 --horizons 5 --steps 300"
    words = ["train", "wall-state", "--data", str(walks), *changes.split()]
    out = tmp_path / "stopped"
    with subprocess.Popen([*GRASP, *words, "--out", str(out)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "log.csv").exists() or not (out / "log.csv").read_text().count("\n") > 1:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130 and "--resume continues where it stopped" in said and "Traceback" not in said
    assert not list(out.glob(".*")) and not (out / "training.json").exists()
    for more in ([*words, "--out", str(out), "--resume"], [*words, "--out", str(tmp_path / "whole")]):
        assert main(more) == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, tmp_path / "whole")]
    assert weights[0] == weights[1]


def test_train_that_is_stopped_before_its_first_step_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("grasp_planner.cli.commands.train.train", stopped)
    assert main(["train", "wall-state", "--data", "d", "--out", str(tmp_path / "out")]) == 130
    said = capsys.readouterr().err
    assert "run the same command again" in said and "--resume" not in said
