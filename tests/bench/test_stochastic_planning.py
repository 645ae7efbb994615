"""The benchmark of planning with action noise: a tiny run, its continuation, equal budgets, and its tables."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ["--worlds", "ball_nav", "--noise", "0", "0.3", "--episodes", "2", "--executions", "2", "--rollouts", "16"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("stochastic_planning")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def out(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stochastic") / "runs.jsonl"
    script.main([*TINY, "--out", str(path)])
    return path


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_tiny_run(script: ModuleType, out: Path) -> None:
    found = records(out)
    tuning = [run for run in found if run["split"] == "validation"]
    assert len(tuning) == 4 * len(script.CEMS) and {run["noise"] for run in tuning} == {script.TUNING_NOISE}
    test = [run for run in found if run["split"] == "test"]
    means = [row for row in script.ROWS if row.samples == 1]
    assert len(test) == 2 * (len(script.ROWS) + len(means)), "without noise there is nothing to sample"
    assert {run["digest"] for run in test} != {run["digest"] for run in tuning}
    assert len({run["digest"] for run in test}) == 1, "all rows have the same episodes"
    for run in found:
        assert 0 < run["transitions"] <= 16 * 8, "equal budgets: 16 rollouts of 8 model steps"
        many = 2 if run["mode"] == "open loop" and run["noise"] > 0 else 1
        for quantity in ("success", "reached", "distance"):
            assert np.array(run[quantity]).shape == (2, many)
        assert (np.array(run["success"]) <= np.array(run["reached"])).all()


def test_a_run_continues(script: ModuleType, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out.read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[:-2]) + lines[-2][:40])  # two measurements are missing; a part of one was written
    script.main([*TINY, "--out", str(cut)])
    printed = capsys.readouterr().out
    assert len(records(cut)) == len(lines) and printed.count(" s  ball_nav") == 2
    tables = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(tables) == 2 * (1 + len(script.ROWS)) and all(line.count("|") == 7 for line in tables)
    for mine, theirs in zip(records(cut), records(out), strict=True):
        assert {key: value for key, value in mine.items() if "seconds" not in key} == {
            key: value for key, value in theirs.items() if "seconds" not in key
        }


def test_the_cells_by_hand(script: ModuleType) -> None:
    mean = {"success": [[1, 0], [1, 1], [0, 0], [0, 0]], "distance": [[4.0, 3.0], [1.0, 2.0], [0.0, 5.0], [7.0, 6.0]]}
    other = {"success": [[1, 1], [1, 1], [0, 1], [0, 0]], "distance": mean["distance"]}
    assert script.success_cell(mean, mean) == "38"
    differences = np.array([50, 0, 50, 0])
    error = differences.std(ddof=1) / 2
    assert script.success_cell(other, mean) == f"62 (+25 ± {error:.0f})"
    assert script.distance_cell(mean) == "3.5 / 6.5"


def test_every_row_plans_with_the_noise_of_the_environment(script: ModuleType) -> None:
    world = script.WORLDS["ball_nav"]
    for row in script.ROWS:
        model, objective = script.posed(world, row, 0.3, 0.1)
        if row.samples == 1:
            assert len(model.scale) == 2 and objective.stage_weight == 0.1
            continue
        assert (model.action_noise, model.action_bounds, model.samples) == (0.3, (-1.0, 1.0), row.samples)
        inner = objective if row.alpha is None else objective.objective
        assert inner.stage_weight == 0.1
        if row.alpha is None:
            assert torch.equal(inner.weights_like(model.scale), model.goal_weights)


def test_a_budget_below_one_rollout_is_refused(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        script.main(["--rollouts", "7", "--out", str(tmp_path / "runs.jsonl")])
    assert not list(tmp_path.iterdir())
