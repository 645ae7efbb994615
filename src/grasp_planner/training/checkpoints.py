"""The state of a training on disk: written atomically, read without unpickling code, resumed to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.atomic import write_atomically
from grasp_planner.io.torch_files import load_tensors

STATE_FILE = "training_state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state in ``folder`` by ``state`` (tensors and plain values) in one step."""
    write_atomically(folder / STATE_FILE, lambda temporary: torch.save(state, temporary))


def load_state(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """The state in ``folder``, which must belong to ``recipe``.

    Raises:
        GraspPlannerError: there is none, it is truncated, or it belongs to another recipe.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise GraspPlannerError(f"nothing to resume: there is no {STATE_FILE} in {folder}; train without resume")
    try:
        state = load_tensors(path)
    except GraspPlannerError as error:
        raise GraspPlannerError(f"{path} cannot be read ({error}): delete it and train again") from error
    if not isinstance(state, dict) or not isinstance(state.get("recipe"), dict):
        raise GraspPlannerError(f"{path} is no state of a training: delete it and train again")
    if state["recipe"] != recipe:
        changed = sorted(key for key in recipe if state["recipe"].get(key) != recipe[key])
        raise GraspPlannerError(
            f"{path} belongs to another recipe (different: {', '.join(changed)}): "
            "resume with the recipe it was started with, or train into another folder"
        )
    return state


def remove_state(folder: Path) -> None:
    """Delete the state of a finished training."""
    (folder / STATE_FILE).unlink(missing_ok=True)
