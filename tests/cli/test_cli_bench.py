"""`grasp bench`, `grasp report` and `grasp diagnose`: what they print and write, and which arguments they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v2 as imageio
import pytest

from grasp_planner.cli.main import main

SUITE = """schema = 2
title = "Push-T, in no time"
about = "For tests"
mode = "open-loop"
published = "push-t-long"
episodes = 3
chunk = 2
rollouts = 6
shown = 1
tuning = {{ trials = [2], episodes = [2] }}
timed = {{ episodes = 1 }}

[[cells]]
task = "push_t/dset/v1"
model = "{model}"
horizons = [20, 40]

[[arms]]
name = "CEM"
space = "cem"

[[arms]]
name = "GRASP"
space = "grasp"
"""


@pytest.fixture
def suite(model_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(SUITE.format(model=model_folder))
    return path


def test_bench_then_report(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "records"
    words = ["bench", str(suite), "--out", str(out), "--engine", "serial"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "H = 20" in printed and "GRASP" in printed and "3 test episodes" in " ".join(printed.split())
    assert {path.name for path in out.iterdir()} == {
        *("suite.json", "sweep.jsonl", "episodes.jsonl", "timed.jsonl", "shown.jsonl")
    }
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(words) == 0  # nothing is left to do
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    capsys.readouterr()

    assert main(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    printed = capsys.readouterr().out
    assert "GRASP, published" in printed and "report.html" in printed
    page = (tmp_path / "page" / "report.html").read_text()
    assert "Push-T, in no time" in page and "data-viewer" in page and "59.0 %" in page
    assert "| GRASP, published |" in (tmp_path / "page" / "report.md").read_text()
    told = json.loads((tmp_path / "page" / "summary.json").read_text())
    (kept,) = told["suites"]
    names = {table["name"] for table in kept["tables"]}
    assert names == {"success", "seconds", "pairs", "failures", "model", "distances", "gaps", "spending", "tuning"}
    assert {chart["name"].partition("-")[0] for chart in kept["charts"]} == {"horizon", "seconds", "transitions"}
    assert main(["report", str(out / "episodes.jsonl"), "--out", str(tmp_path / "some")]) == 0


def test_what_would_be_done_is_said_without_doing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "push-t-long", "--plan-only"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "5,500 plans in batches of 50" in printed and "H = 80, pusht-state" in printed
    assert "tuned for all cells together: CEM; iCEM; MPPI; GD; LatCo; GRASP" in printed
    assert "with fixed settings: GRASP, paper; GRASP, authors' code; GRASP, second order; recommended" in printed
    assert "1000 horizons" in printed
    assert main(["bench", "push-t-equal-time", "--plan-only"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "with fixed settings: CEM; iCEM" in printed and "1.5 seconds of one thread for each episode" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "push-t-lnog"], "push-t-long"),
        (["bench", "smoke", "--pixels"], "no [pixels]"),
        (["bench", "smoke", "--models", "wall-state"], "pusht-state"),
        (["bench", "smoke", "--engine", "rey"], "ray"),
        (["bench", "smoke", "--workers", "0"], "at least 1"),
        (["report", "nowhere"], "nowhere"),
        (["diagnose", "horizn"], "horizon"),
        (["diagnose", "horizon", "--horizons", "1"], "at least 2"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_here_is_named(
    suite: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.write_text(suite.read_text().replace(str(model_folder), "pusht-nowhere"))
    assert main(["bench", str(suite), "--out", str(tmp_path / "records")]) == 2
    assert "needs the model 'pusht-nowhere'" in capsys.readouterr().err
    assert not (tmp_path / "records").exists()


def test_diagnoses_are_drawn_and_said(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"diagnose horizon path --model {model_folder} --out {tmp_path / 'd'} --episodes 2"
    assert main([*words.split(), "--horizon", "20", "--horizons", "2", "3"]) == 0
    printed = capsys.readouterr().out
    for name in ("horizon", "path"):
        assert f"{name}: " in printed
        assert imageio.imread(tmp_path / "d" / f"{name}.png").shape[1] == 840
        content = json.loads((tmp_path / "d" / f"{name}.json").read_text())
        assert content["model"] == str(model_folder) and content[name]
