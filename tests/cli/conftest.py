"""A model for commands, trained for a few steps on a pusher with linear dynamics and a block that never moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def episodes_of_push_t():
    """Twelve episodes of 30 environment steps, made without a simulator."""
    from grasp_planner.data import Episodes

    rng = np.random.default_rng(0)
    observations, actions = [], []
    for _ in range(12):
        moves = rng.uniform(-1, 1, (30, 2))
        states = np.zeros((31, 7))
        states[:, :2] = rng.uniform(100, 400, 2) + np.r_[np.zeros((1, 2)), np.cumsum(30 * moves, axis=0)]
        states[:, 2:5] = [*rng.uniform(150, 350, 2), rng.uniform(0, 6)]
        states[1:, 5:] = 100 * moves
        observations.append({"state": states})
        actions.append(moves)
    return Episodes.of(observations, actions)


@pytest.fixture(scope="session")
def model_folder(episodes_of_push_t, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, which is fast but inaccurate."""
    from grasp_planner.models.state.model import StateModelConfig
    from grasp_planner.training import Phase, recipe, train

    small = replace(
        recipe("pusht-state"),
        model=StateModelConfig(state_size=7, action_size=2, features="plain", width=8, depth=1),
        steps=4,
        phases=(Phase(1.0, 5, 16),),
        horizons=(5,),
        symmetry=None,
        validation=0.2,
    )
    folder = tmp_path_factory.mktemp("model")
    return train(small, episodes_of_push_t, folder, progress=False).folder
