"""The state of a training on disk: written atomically, and read without running code from the file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.atomic import write_bytes_atomically
from grasp_planner.io.torch_files import load_tensors

STATE_FILE = "training_state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) to ``folder`` atomically, in place of an earlier state.

    Raises:
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    torch.save(state, content)
    write_bytes_atomically(folder / STATE_FILE, content.getvalue())


def load_state(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the state in ``folder``, which must belong to ``recipe``.

    Raises:
        GraspPlannerError: there is no state, it is truncated, or it belongs to another recipe.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise GraspPlannerError(f"nothing to resume: there is no {STATE_FILE} in {folder}; train without resume")
    try:
        state = load_tensors(path)
    except GraspPlannerError as error:
        raise GraspPlannerError(f"{path} cannot be read ({error}): delete it and train again") from error
    if not isinstance(state, dict) or not isinstance(state.get("recipe"), dict):
        raise GraspPlannerError(f"{path} is not the state of a training: delete it and train again")
    if state["recipe"] != recipe:
        changed = sorted(key for key in recipe if state["recipe"].get(key) != recipe[key])
        raise GraspPlannerError(
            f"{path} belongs to another recipe (different: {', '.join(changed)}): "
            "resume with the recipe it was started with, or train into another folder"
        )
    return state
