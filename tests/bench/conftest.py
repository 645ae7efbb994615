"""A suite that runs in seconds, and a model for the suite with fixed random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

SUITE = """schema = 2
title = "Wall, in no time"
about = "For tests"
mode = "{mode}"
episodes = 5
chunk = 2
rollouts = 12
shown = {shown}

[tuning]
trials = [3, 2]
episodes = [2, 3]

[timed]
episodes = 2

[[cells]]
task = "wall/dset/v1"
model = "{model}"
horizons = [{horizons}]

[[arms]]
name = "CEM"
space = "cem"

[[arms]]
name = "GRASP"
space = "grasp"

[[arms]]
name = "no sync"
like = "GRASP"
change = {{ "planner.sync" = "none", starts = 2 }}
"""


@pytest.fixture(autouse=True)
def _threads() -> Any:
    """Restore the number of threads after a test. Jobs set it, since they usually run in a separate process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def wall_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved, untrained model of Wall."""
    from grasp_planner.models.state.model import StateModel, StateModelConfig

    folder = tmp_path_factory.mktemp("wall-model")
    torch.manual_seed(3)
    StateModel(StateModelConfig(state_size=2, action_size=2, width=8, depth=1, octaves=0)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def suite_file(wall_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open-loop suite with every stage."""
    path = tmp_path_factory.mktemp("suite") / "wall.toml"
    path.write_text(SUITE.format(mode="open-loop", shown=1, model=wall_model, horizons="10, 15"))
    return path


@pytest.fixture(scope="session")
def closed_loop_file(wall_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed-loop suite with every stage."""
    path = tmp_path_factory.mktemp("suite") / "driven.toml"
    path.write_text(SUITE.format(mode="closed-loop", shown=0, model=wall_model, horizons="10"))
    return path


@pytest.fixture(scope="session")
def finished(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished, uninterrupted run of the open-loop suite in this process."""
    from grasp_planner.bench.running.engines import Serial
    from grasp_planner.bench.running.suite_run import Run
    from grasp_planner.bench.suites.loading import load_suite

    folder = tmp_path_factory.mktemp("finished") / "wall"
    threads = torch.get_num_threads()
    Run(load_suite(suite_file), folder).go(Serial())
    torch.set_num_threads(threads)
    return folder
