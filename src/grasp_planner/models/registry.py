"""Which world models there are, and how a saved one is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.files import CONFIG_FILE, read_config

if TYPE_CHECKING:
    from grasp_planner.models.units import Statistics


def checkpoints() -> dict[str, Path]:
    """The checkpoints that come with the package: name -> folder.

    >>> "pusht-state" in checkpoints()
    True
    """
    folder = Path(__file__).parent / "checkpoints"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG_FILE}"))}


def load_world_model(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    statistics: Statistics | str | None = None,
    allow_pickle: bool = False,
) -> WorldModel:
    """A trained world model, frozen and in evaluation mode; no network access, and no code of a file is run.

    Args:
        name_or_path: a packaged name (see ``checkpoints()``); ``"ball-nav"``, whose dynamics are known; or a folder:
            one that holds ``config.json`` and ``model.safetensors``, one of DINO-WM's training script (``hydra.yaml``,
            ``checkpoints/``), or one with a ``.pth.tar`` and a ``.yaml`` of JEPA-WMs. ``load_dino_wm`` and
            ``load_jepa_wms`` have further settings.
        device: where its tensors go.
        statistics: for DINO-WM and JEPA-WMs, whose files do not hold them: of the data that the model was trained on,
            or ``"published"``.
        allow_pickle: agree to reading a pickle, which DINO-WM's files are.

    Raises:
        GraspPlannerError: no such name or folder, a kind of model that is not known, files that are missing, truncated
            or do not fit together, or consent or statistics that are needed.

    Example:
        >>> model = load_world_model("pusht-state")
        >>> model.frameskip, tuple(model.low.shape), tuple(model.scale.shape)
        (5, (10,), (8,))
    """
    if name_or_path in ANALYTIC:
        return ANALYTIC[str(name_or_path)](device)
    folder = _folder(name_or_path)
    if not (folder / CONFIG_FILE).exists() and (folder / "hydra.yaml").is_file():
        from grasp_planner.models.dino_wm.model import load_dino_wm

        return load_dino_wm(folder, statistics, allow_pickle=allow_pickle, device=device)
    weights, settings = list(folder.glob("*.pth.tar")), list(folder.glob("*.yaml"))
    if len(weights) == 1 and len(settings) == 1:
        from grasp_planner.models.jepa_wms.model import load_jepa_wms

        return load_jepa_wms(weights[0], settings[0], statistics, device=device)
    kind = str(read_config(folder).get("kind"))
    if kind not in KINDS:
        raise unknown_name("kind of model in " + str(folder / CONFIG_FILE), kind, KINDS)
    return KINDS[kind](folder, device)


def _load_state(folder: Path, device: str | torch.device) -> WorldModel:
    from grasp_planner.models.state.model import StateModel

    return StateModel.from_pretrained(folder, device=device)


def _load_latent(folder: Path, device: str | torch.device) -> WorldModel:
    from grasp_planner.models.latent.model import LatentModel

    return LatentModel.from_pretrained(folder, device=device)


def _ball_nav(device: str | torch.device) -> WorldModel:
    from grasp_planner.models.ball_nav import BallNav

    # Its fields are read-only, which the protocol does not ask to be written but cannot say.
    return cast("WorldModel", BallNav(device=device))


ANALYTIC: dict[str, Callable[[str | torch.device], WorldModel]] = {"ball-nav": _ball_nav}
"""Models that are known rather than learned: a name, and what makes one on a device."""

KINDS: dict[str, Callable[[Path, str | torch.device], WorldModel]] = {"state": _load_state, "latent": _load_latent}
"""What ``config.json`` calls a kind of model, and what opens it."""


def _folder(name_or_path: str | Path) -> Path:
    packaged = checkpoints()
    if isinstance(name_or_path, str) and name_or_path in packaged:
        return packaged[name_or_path]
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise GraspPlannerError(
            f"a checkpoint is a folder with {CONFIG_FILE} and weights beside it, got the file {folder}"
        )
    if isinstance(name_or_path, Path) or folder.name != str(name_or_path):
        raise GraspPlannerError(
            f"no folder {folder}: give a folder with {CONFIG_FILE}, or one of {', '.join(sorted(packaged))}"
        )
    raise unknown_name("checkpoint", str(name_or_path), [*packaged, *ANALYTIC])
