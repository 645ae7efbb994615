"""Write results to files: JSON and NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.bench.records import versions
from grasp_planner.cli.folders import json_text

if TYPE_CHECKING:
    from grasp_planner.bench.running.open_loop import Evaluation

SCHEMA = 1


def write_results(path: Path, evaluations: Sequence[Evaluation], **about: Any) -> None:
    """Write settings, measurements and versions as JSON."""
    content = {
        "schema": SCHEMA,
        **about,
        "versions": versions(),
        "evaluations": [evaluation.summary() for evaluation in evaluations],
    }
    path.write_text(json_text(content), encoding="utf-8")


def write_plans(path: Path, evaluation: Evaluation) -> None:
    """Write the plans as arrays: actions in model and environment units, predicted and simulated states."""
    found = evaluation.plan
    arrays = {
        "model_actions": found.actions.numpy(force=True),
        "environment_actions": evaluation.actions,
        "latents": found.states.numpy(force=True),
        "cost": found.cost.numpy(force=True),
        "best_cost_per_step": found.trace.cost.numpy(force=True),
        "simulated_states": np.stack([outcome.states for outcome in evaluation.outcomes]),
        "goals": evaluation.goals,
    }
    if evaluation.imagined is not None:
        arrays["imagined_states"] = evaluation.imagined
    np.savez_compressed(path, allow_pickle=False, **arrays)
