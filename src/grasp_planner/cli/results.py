"""Results as files for programs: JSON and NumPy arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.bench.records import versions

if TYPE_CHECKING:
    from grasp_planner.bench.running.open_loop import Evaluation

SCHEMA = 1


def write_results(path: Path, evaluations: Sequence[Evaluation], **about: Any) -> None:
    """Settings, measurements and versions as JSON."""
    content = {
        "schema": SCHEMA,
        **about,
        "versions": versions(),
        "evaluations": [evaluation.summary() for evaluation in evaluations],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_plans(path: Path, evaluation: Evaluation) -> None:
    """The plans as arrays: actions in model and in environment units, states imagined and simulated."""
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
