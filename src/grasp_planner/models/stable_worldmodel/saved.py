"""Folders that stable-worldmodel's ``save_pretrained`` wrote, and the call that loads the model in one."""

from __future__ import annotations

from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError, known_name
from grasp_planner.io.text_files import read_json
from grasp_planner.models.stable_worldmodel.cores import CORES

CONFIG_FILE = "config.json"


def is_saved_by_stable_worldmodel(folder: Path) -> bool:
    """Whether a folder holds weights as ``save_pretrained`` writes them, with its ``config.json`` or without one.

    The configuration names the class of the model under ``_target_``, for Hydra.

    Raises:
        GraspPlannerError: ``config.json`` cannot be read.
    """
    if not _weights(folder):
        return False
    path = folder / CONFIG_FILE
    return not path.exists() or "_target_" in read_json(path)


def how_to_load(folder: Path) -> GraspPlannerError:
    """Return the error that says which call loads the model in such a folder.

    Loading it runs the classes that its configuration names, so this package does not do it.
    """
    place = folder.absolute()
    files = _weights(folder)
    if not (folder / CONFIG_FILE).exists():
        return GraspPlannerError(
            f"{folder} holds {files[-1]} and no {CONFIG_FILE}. If stable-worldmodel's save_pretrained wrote it without "
            f"a configuration, build the model, call model.load_state_dict(torch.load({str(place / files[-1])!r})), "
            f"and wrap it: {_wrapped('model', '')}"
        )
    named = read_json(folder / CONFIG_FILE).get("_target_")
    name = str(named).rpartition(".")[2]
    try:
        known_name("kind of stable-worldmodel model", name, CORES)
        kind = ""
    except GraspPlannerError:
        kind = f", kind= one of {sorted(CORES)}"
    what = str(place if len(files) == 1 else place / files[-1])
    return GraspPlannerError(
        f"{folder} was written by stable-worldmodel's save_pretrained, for a {name}. Its {CONFIG_FILE} names classes "
        "that loading runs, so load it with stable-worldmodel, and only if you know where it is from: "
        f"from stable_worldmodel.wm.utils import load_pretrained; {_wrapped(f'load_pretrained({what!r})', kind)}"
    )


def _wrapped(model: str, kind: str) -> str:
    statistics = "Statistics(action_mean=(..), action_std=(..))"
    return f"grasp_planner.models.from_stable_worldmodel({model}, {statistics}, frameskip=..{kind})"


def _weights(folder: Path) -> list[str]:
    """The names of the files with weights, the last written last."""
    files = [path for path in folder.glob("*.pt") if path.is_file()]
    return [path.name for path in sorted(files, key=lambda path: (path.stat().st_mtime, path.name))]
