"""Hashes of models, to notice when a model changes between two runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.registry import ANALYTIC, checkpoints, model_folder, model_name


def model_hash(name_or_path: str) -> str:
    """Return sixteen hexadecimal digits that identify the configuration and weights of a model.

    Raises:
        GraspPlannerError: there is no such model; the message lists the available models.

    >>> len(model_hash("pusht-state"))
    16
    """
    check_models([name_or_path])
    folder = model_folder(name_or_path)
    if folder is None:
        return hashlib.sha256(f"analytic/{model_name(name_or_path)}".encode()).hexdigest()[:16]
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".pth", ".tar", ".yaml") and path.name != "training.json":
            total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def check_models(names: Iterable[str]) -> None:
    """Raise unless all models exist on this machine.

    Raises:
        GraspPlannerError: a model is missing; the message lists the available models.
    """
    missing = [name for name in dict.fromkeys(names) if not _exists(name)]
    if missing:
        named = ", ".join(map(repr, missing))
        raise GraspPlannerError(
            f"the suite needs the model{'s' if len(missing) > 1 else ''} {named}, not here: train (`grasp train`), "
            "name the folder of one in a suite of your own, or leave cells out with --models and those to keep. "
            f"Here are {', '.join([*checkpoints(), *ANALYTIC])}"
        )


def _exists(name: str) -> bool:
    try:
        model_name(name)
    except GraspPlannerError:
        return False
    return True
