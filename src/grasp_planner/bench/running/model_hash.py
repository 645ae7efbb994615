"""Hashes of models, to notice when a model changes between two runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.registry import ANALYTIC, checkpoints


def model_hash(name_or_path: str) -> str:
    """Sixteen hexadecimal digits that identify a model: its configuration and weights.

    Raises:
        GraspPlannerError: there is no such model; the error lists the models that there are.

    >>> len(model_hash("pusht-state"))
    16
    """
    if name_or_path in ANALYTIC:
        return hashlib.sha256(f"analytic/{name_or_path}".encode()).hexdigest()[:16]
    check_models([name_or_path])
    folder = checkpoints().get(name_or_path, Path(name_or_path))
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".pth", ".tar", ".yaml") and path.name != "training.json":
            total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def check_models(names: Iterable[str]) -> None:
    """Raise unless all models exist on this machine.

    Raises:
        GraspPlannerError: a model is missing; the error lists the models that there are.
    """
    packaged = checkpoints()
    missing = [name for name in dict.fromkeys(names) if name not in {*ANALYTIC, *packaged} and not Path(name).is_dir()]
    if missing:
        named = ", ".join(map(repr, missing))
        raise GraspPlannerError(
            f"the suite needs the model{'s' if len(missing) > 1 else ''} {named}, not here: train (`grasp train`), "
            "name the folder of one in a suite of your own, or leave cells out with --models and those to keep. "
            f"Here are {', '.join([*packaged, *ANALYTIC])}"
        )
