"""Agents that act for rewards: the table of PointMaze in a small form, and returns of known actions."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = "--starts 2 --collected 6 --iterations 2 --updates 3 --decisions 2".split()


@pytest.fixture
def script() -> Iterator[ModuleType]:
    threads = torch.get_num_threads()
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("point_maze_values")
    finally:
        sys.path.remove(str(BENCHMARKS))
        del sys.modules["point_maze_values"], sys.modules["rewarded_agents"]
        torch.set_num_threads(threads)


def test_every_agent_has_a_row(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["point_maze_values.py", *SMALL, "--out", str(tmp_path)])
    script.main()
    rows = [line.strip("| \n").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    agents = [(row[0], row[1]) for row in rows[1:]]
    assert agents[0] == ("reward alone", "20") and agents[-1] == ("policy alone", "-")
    assert len(set(agents)) == len(agents) == 9
    assert rows[1][3] == "0.0 (0.0)", "the first row does not differ from itself"
    for row in rows[1:]:
        assert 0.0 < float(row[2].split(" ")[0]) < 10.0, "ten rewards between 0 and 1"


def test_a_return_is_the_sum_of_the_rewards_of_all_environment_steps(script: ModuleType) -> None:
    worlds = script.Worlds([None, None], lambda env, i: np.full(1, float(i)), lambda env, action: (action, 1.5), 3)
    seen: list[tuple[int, list[float]]] = []

    def act(here: np.ndarray, decision: int) -> np.ndarray:
        seen.append((decision, here[:, 0].tolist()))
        return np.stack([[[1.0], [2.0]], [[3.0], [4.0]]])  # two environment actions for each environment

    assert worlds.play(act).tolist() == [9.0, 9.0]
    assert seen == [(0, [0.0, 1.0]), (1, [2.0, 4.0]), (2, [2.0, 4.0])]


def test_the_reward_is_largest_at_the_place(script: ModuleType) -> None:
    states = np.array([[0.8, 0.8, 5.0, 0.0], [0.8, 1.8, 0.0, 0.0]])
    assert script.reward(states) == pytest.approx([1.0, np.exp(-1.0)])
