"""BallNav from the command line: plan with the known dynamics, execute, draw, and collect data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from grasp_planner.cli.main import main
from grasp_planner.data import read
from grasp_planner.domains.ball_nav.physics import MAPS, clearance, walls_of


def test_the_model_says_what_the_simulator_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "plan --task ball-nav/random-state --model ball-nav --episodes 2 planner:icem --steps 3"
    assert main([*words.split(), "--animation", "none", "--out", str(tmp_path / "plan")]) == 0
    assert "ball_nav/random_state/v1, 60 steps ahead, 2 episodes, planned in ball-nav" in capsys.readouterr().out
    written = ["plan.json", "plan.npz", "plan.toml", "planning.png"]
    assert sorted(path.name for path in (tmp_path / "plan").iterdir()) == written
    arrays = np.load(tmp_path / "plan" / "plan.npz")
    np.testing.assert_allclose(arrays["imagined_states"], arrays["simulated_states"][:, ::5], atol=1e-9)
    (found,) = json.loads((tmp_path / "plan" / "plan.json").read_text())["evaluations"]
    assert all(episode["success"] == episode["success_model"] for episode in found["episodes"])


def test_data_are_collected(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert (
        main(["collect", "ball_nav", "--episodes", "3", "--steps", "20", "--workers", "1", "--out", str(folder)]) == 0
    )
    episodes = read(folder)
    states = episodes.array("state")
    assert len(episodes) == 3 and states.shape == (63, 2)
    assert clearance(states, walls_of(next(iter(MAPS)))).min() > 0.49
