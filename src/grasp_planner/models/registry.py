"""The table of world models that can be loaded: packaged checkpoints, folders, analytic models, other projects."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from grasp_planner.core.errors import GraspPlannerError, known_name, unknown_name
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.checkpoint import CONFIG_FILE, read_config
from grasp_planner.models.hub import found_folder, is_repository
from grasp_planner.models.stable_worldmodel.saved import how_to_load, is_saved_by_stable_worldmodel

if TYPE_CHECKING:
    from grasp_planner.models.normalisation import Statistics


Device = str | torch.device


def _load_state(folder: Path, device: Device) -> WorldModel:
    from grasp_planner.models.state.model import StateModel

    return StateModel.from_pretrained(folder, device=device)


def _load_latent(folder: Path, device: Device) -> WorldModel:
    from grasp_planner.models.latent.model import LatentModel

    return LatentModel.from_pretrained(folder, device=device)


def _ball_nav(device: Device) -> WorldModel:
    from grasp_planner.models.ball_nav import BallNav

    return BallNav(device=device)


def _ball_nav_variant(name: str, device: Device) -> WorldModel:
    """Return the model of a variant of BallNav, with one environment step in a model step."""
    from grasp_planner.domains.ball_nav.task import VARIANTS
    from grasp_planner.models.ball_nav import BallNav

    return BallNav(device=device, frameskip=1, **VARIANTS[name].options)


def _is_dino_wm(folder: Path) -> bool:
    return (folder / "hydra.yaml").is_file()


def _load_dino_wm(folder: Path, device: Device, statistics: Statistics | str | None, allow_pickle: bool) -> WorldModel:
    from grasp_planner.models.dino_wm.loading import load_dino_wm

    return load_dino_wm(folder, statistics, allow_pickle=allow_pickle, device=device)


def _is_jepa_wms(folder: Path) -> bool:
    return len(list(folder.glob("*.pth.tar"))) == 1 and len(list(folder.glob("*.yaml"))) == 1


def _load_jepa_wms(folder: Path, device: Device, statistics: Statistics | str | None, allow_pickle: bool) -> WorldModel:
    from grasp_planner.models.jepa_wms.loading import load_jepa_wms

    (weights,), (settings,) = folder.glob("*.pth.tar"), folder.glob("*.yaml")
    return load_jepa_wms(weights, settings, statistics, device=device)


KINDS: dict[str, Callable[[Path, Device], WorldModel]] = {
    "state": _load_state,
    "latent": _load_latent,
    "patches": _load_latent,
}
"""Our own kinds of models: kind in ``config.json`` -> loader."""

ANALYTIC: dict[str, Callable[[Device], WorldModel]] = {
    "ball-nav": _ball_nav,
    **{
        f"ball-nav-{map}-{steps}": partial(_ball_nav_variant, f"{map}_{steps}")
        for map in ("cup", "hook", "slalom")
        for steps in (100, 300, 1000)
    },
}
"""Models whose dynamics are known: name -> function that makes the model on a device."""

FOREIGN: dict[str, tuple[Callable[[Path], bool], Callable[..., WorldModel]]] = {
    "DINO-WM": (_is_dino_wm, _load_dino_wm),
    "JEPA-WMs": (_is_jepa_wms, _load_jepa_wms),
}
"""Other projects: name, whether a folder holds one of their checkpoints, and the loader of such a folder."""


def checkpoints() -> dict[str, Path]:
    """List the checkpoints in the package: name -> folder.

    >>> "pusht-state" in checkpoints()
    True
    """
    folder = Path(__file__).parent / "checkpoints"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG_FILE}"))}


def model_name(name_or_path: str | Path) -> str:
    """Return the registered name of a model that is given by any spelling of it, or the path of a folder.

    A folder of the same name comes before another spelling, and after the registered spelling. A repository of the
    Hugging Face Hub keeps its name, and is not looked up.

    Raises:
        GraspPlannerError: there is no model of that name, and no such folder.

    >>> model_name("PushT_State"), model_name("ball_nav")
    ('pusht-state', 'ball-nav')
    """
    return str(name_or_path) if is_repository(name_or_path) else _found(name_or_path)[0]


def model_folder(name_or_path: str | Path) -> Path | None:
    """Return the folder of a model; ``None`` if its dynamics are known.

    A repository of the Hugging Face Hub is downloaded.

    Raises:
        GraspPlannerError: there is no model of that name, no such folder, and no such repository.
    """
    return _found(name_or_path)[1]


def _found(name_or_path: str | Path) -> tuple[str, Path | None]:
    """The name of a model, and its folder if it has one."""
    registered: dict[str, Path | None] = {**checkpoints(), **dict.fromkeys(ANALYTIC)}
    if isinstance(name_or_path, str) and name_or_path in registered:
        return name_or_path, registered[name_or_path]
    if is_repository(name_or_path):
        return str(name_or_path), found_folder(name_or_path)
    folder = Path(name_or_path)
    if folder.is_dir():
        return str(folder), folder
    if folder.is_file():
        raise GraspPlannerError(
            f"a checkpoint is a folder with {CONFIG_FILE} and weights beside it, got the file {folder}"
        )
    if isinstance(name_or_path, Path) or folder.name != str(name_or_path):
        raise GraspPlannerError(
            f"no folder {folder}: give a folder with {CONFIG_FILE}, 'owner/name' on the Hugging Face Hub (with no "
            f"folder 'owner' here), or one of {', '.join(sorted(registered))}"
        )
    name = known_name("checkpoint", name_or_path, registered)
    return name, registered[name]


def load_world_model(
    name_or_path: str | Path,
    *,
    device: Device = "cpu",
    statistics: Statistics | str | None = None,
    allow_pickle: bool = False,
) -> WorldModel:
    """Load a world model, frozen and in evaluation mode; no code of a file is run.

    Only a name of the form ``"owner/name"`` leads to a download, from the Hugging Face Hub, and only if no folder here
    is called ``owner``: see ``download_model``.

    Args:
        name_or_path: the name of a packaged checkpoint (see ``checkpoints()``) in any spelling; ``"ball-nav"``, whose
            dynamics are known; a repository of the Hub; or a folder. A folder holds ``config.json`` and
            ``model.safetensors``, or it was written by DINO-WM's training script (``hydra.yaml``, ``checkpoints/``), or
            it holds a ``.pth.tar`` and a ``.yaml`` file of JEPA-WMs. ``load_dino_wm`` and ``load_jepa_wms`` have
            further settings. A folder that stable-worldmodel wrote is answered with the call that loads it.
        device: device of the tensors.
        statistics: for DINO-WM and JEPA-WMs, whose files do not contain statistics: the statistics of the training
            data, or ``"published"``.
        allow_pickle: must be True for the files of DINO-WM, as a consent to reading a pickle.

    Raises:
        GraspPlannerError: the name, the folder or the kind of model is unknown; files are missing or truncated, or do
            not fit together; consent or statistics are missing; the Hub cannot be reached.

    Example:
        >>> model = load_world_model("pusht-state")
        >>> model.frameskip, tuple(model.low.shape), tuple(model.scale.shape)
        (5, (10,), (8,))
    """
    name, folder = _found(name_or_path)
    if folder is None:
        return ANALYTIC[name](device)
    if not (folder / CONFIG_FILE).exists():
        for is_checkpoint, load in FOREIGN.values():
            if is_checkpoint(folder):
                return load(folder, device, statistics, allow_pickle)
    if is_saved_by_stable_worldmodel(folder):
        raise how_to_load(folder)
    kind = str(read_config(folder).get("kind"))
    if kind not in KINDS:
        raise unknown_name("kind of model in " + str(folder / CONFIG_FILE), kind, KINDS)
    return KINDS[kind](folder, device)
