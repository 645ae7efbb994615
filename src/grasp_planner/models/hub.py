"""Models and planner files on the Hugging Face Hub: names of repositories, downloads, errors that say what to do.

``huggingface_hub`` downloads and caches the files. Only the files of a model are downloaded, none of which is code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.io.text_files import read_json
from grasp_planner.models.checkpoint import CONFIG_FILE, MOST_CONFIG, WEIGHTS_FILE

CARD_FILE, SUMMARY_FILE, PLANNER_FILE = "README.md", "training.json", "planner.json"
OPTIONAL_FILES = (SUMMARY_FILE, PLANNER_FILE)
"""Files that are uploaded and downloaded if a model has them."""
FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, *OPTIONAL_FILES)
"""The files of a model. No other file of a folder is uploaded, and no other file of a repository is downloaded."""

A_MODEL = f"model of grasp-planner, which is a {CONFIG_FILE} and a {WEIGHTS_FILE}"
A_PLANNER = f"planner, which is a {PLANNER_FILE} that save_planner wrote"

NAME = re.compile(r"[a-z0-9][\w.-]*/[a-z0-9][\w.-]*", re.ASCII | re.IGNORECASE)
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def is_repository(name: str | Path) -> bool:
    """Whether a name is read as a repository of the Hub.

    It is if it has the form ``"owner/name"`` and no file or folder of this machine is called ``owner``: a name such as
    ``out/wall`` is a path for everybody who has a folder ``out``.

    >>> is_repository("nobody/wall"), is_repository("wall"), is_repository("./nobody/wall")
    (True, False, False)
    """
    return isinstance(name, str) and bool(NAME.fullmatch(name)) and not Path(name.partition("/")[0]).exists()


def found_folder(name_or_path: str | Path) -> Path:
    """Return the folder of a model, downloaded if the name is read as a repository of the Hub.

    Raises:
        GraspPlannerError: the repository cannot be downloaded, or it has no model of this package.
    """
    if not is_repository(name_or_path):
        return Path(name_or_path)
    doing = f"there is no folder {name_or_path} here, and loading it from the Hugging Face Hub"
    return _downloaded(str(name_or_path), None, doing)


def download_model(repository: str, *, revision: str | None = None) -> Path:
    """Download a model of this package from the Hugging Face Hub, and return its folder in the cache of the Hub.

    The configuration is downloaded and checked first. Then the weights are downloaded, and the model card, the settings
    of the training and the settings of a planner, if the repository has them. No code is downloaded. A model that was
    downloaded before is found without a connection. ``huggingface_hub`` reads the token, the cache and the address of
    the Hub from its own settings (``HF_TOKEN``, ``HF_HOME``, ``HF_ENDPOINT``).

    Args:
        repository: ``"owner/name"``, where the owner is a user or an organisation.
        revision: branch, tag or commit; ``None``: the newest commit of the branch ``main``. Give the hash of a commit
            to get the same files every time.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
        GraspPlannerError: the repository or the revision does not exist, access is denied, the Hub cannot be reached,
            or the repository has no model of this package.

    Example:
        >>> download_model("pusht-state")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: needed a repository of the Hub as 'owner/name', got 'pusht-state'
    """
    check_name(repository)
    return _downloaded(repository, revision, f"loading {repository!r} from the Hugging Face Hub")


def download_planner(repository: str, *, revision: str | None = None) -> Path:
    """Download the settings of a planner from the Hugging Face Hub, and return the file in the cache of the Hub.

    ``load_planner`` reads the file, and ``load_planner("owner/name")`` does both. Only ``planner.json`` is downloaded.
    A file that was downloaded before is found without a connection.

    Args:
        repository: ``"owner/name"``.
        revision: branch, tag or commit, as for ``download_model``.

    Raises:
        GraspPlannerError: the file cannot be downloaded; the message says why, and what to do.
        MissingExtraError: ``huggingface_hub`` is not installed.

    Example:
        >>> download_planner("cem")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: needed a repository of the Hub as 'owner/name', got 'cem'
    """
    check_name(repository)
    with using_hub(f"loading the planner of {repository!r} from the Hugging Face Hub", A_PLANNER) as hub:
        return Path(hub.hf_hub_download(repository, PLANNER_FILE, revision=revision))


def check_name(repository: str) -> None:
    """Raise unless a name has the form ``"owner/name"``.

    Raises:
        GraspPlannerError: the name has another form.
    """
    if not NAME.fullmatch(repository):
        raise GraspPlannerError(f"needed a repository of the Hub as 'owner/name', got {repository!r}")


def _downloaded(repository: str, revision: str | None, doing: str) -> Path:
    with using_hub(doing) as hub:
        config = Path(hub.hf_hub_download(repository, CONFIG_FILE, revision=revision))
        if missing := {"kind", "schema"} - set(read_json(config, MOST_CONFIG)):
            raise GraspPlannerError(
                f"{doing} failed: the repository holds no model of grasp-planner, since its {CONFIG_FILE} has no field "
                f"{sorted(missing)[0]!r}. Load it with the library that wrote it; models of other projects are loaded "
                "from folders (load_dino_wm, load_jepa_wms, from_stable_worldmodel)"
            )
        commit = config.parent.name  # the same commit, if somebody uploads another model meanwhile
        return Path(hub.snapshot_download(repository, revision=commit, allow_patterns=list(FILES)))


@contextmanager
def using_hub(doing: str, needed: str = A_MODEL) -> Iterator[Any]:
    """Yield ``huggingface_hub``, and convert its errors inside the block to errors that say what to do.

    Args:
        doing: what the block does, as the errors say it, such as ``"loading 'owner/name' from the Hugging Face Hub"``.
        needed: what the repository must hold, as the errors say it.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
        GraspPlannerError: the block failed.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise missing_extra("huggingface_hub", "hub", doing) from error
    remedies = [
        (errors.GatedRepoError, f"access must be granted: ask for it on the page of the repository, and {LOG_IN}"),
        (errors.RepositoryNotFoundError, f"no such repository: check the name, or, if it is private, {LOG_IN}"),
        (errors.RevisionNotFoundError, "the repository has no such branch, tag or commit"),
        (
            (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled),
            "the Hub cannot be reached: check the connection and HF_HUB_OFFLINE; only what was downloaded before is "
            "found without a connection",
        ),
        (errors.EntryNotFoundError, f"the repository holds no {needed}"),
    ]
    try:
        yield huggingface_hub
    except GraspPlannerError:
        raise
    except Exception as error:  # besides its own errors, huggingface_hub raises those of its HTTP client
        reason = next((remedy for kind, remedy in remedies if isinstance(error, kind)), None)
        if reason is None:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            denied = isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403)
            remedy = f"{LOG_IN} to an account that may do this" if denied else "check the connection, and try again"
            reason = f"{said} ({type(error).__name__}): {remedy}"
        raise GraspPlannerError(f"{doing} failed: {reason}") from error
