"""What the commands share that learn networks for a trained world model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grasp_planner.cli.checks import check_device
from grasp_planner.cli.folders import leaving_no_empty_folder
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.registry import load_world_model


@contextmanager
def learning_for(model: str, device: str, out: Path) -> Iterator[WorldModel]:
    """Load a world model on a device, and remove the folder ``out`` if the block fails before writing to it.

    Raises:
        GraspPlannerError: this machine does not have the device, there is no such model, or ``out`` cannot be written.
    """
    check_device(device)
    loaded = load_world_model(model, device=device)
    with leaving_no_empty_folder(out):
        yield loaded
