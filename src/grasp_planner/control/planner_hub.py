"""Uploads of planner files to the Hugging Face Hub. ``load_planner`` loads them."""

from __future__ import annotations

from pathlib import Path

from grasp_planner.control.planner_files import load_planner
from grasp_planner.models.hub import A_PLANNER, PLANNER_FILE, check_name, using_hub
from grasp_planner.models.model_card import LIBRARY


def push_planner_to_hub(path: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload the settings of a planner to the Hugging Face Hub, as ``planner.json``.

    The file is loaded first, so that no broken file is uploaded. The repository is created if needed. It may be the
    repository of a model: other files of the repository stay as they are. Log in once with ``hf auth login``, or set
    ``HF_TOKEN``.

    Args:
        path: a planner file that ``save_planner`` or ``grasp tune`` wrote.
        repository: ``"owner/name"``, where the owner is your user name or an organisation.
        private: whether a new repository is private. An existing repository stays as it is.

    Returns:
        The address of the commit.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
        GraspPlannerError: the file is no planner file, the repository's name has another form, access is denied, or the
            Hub cannot be reached.

    Example:
        >>> push_planner_to_hub("planner.json", "my-robots")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: needed a repository of the Hub as 'owner/name', got 'my-robots'
    """
    check_name(repository)
    load_planner(Path(path))
    with using_hub(f"uploading a planner to {repository!r} on the Hugging Face Hub", A_PLANNER) as hub:
        api = hub.HfApi(library_name=LIBRARY)
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_file(
            path_or_fileobj=Path(path),
            path_in_repo=PLANNER_FILE,
            repo_id=repository,
            commit_message="Upload the settings of a planner",
        )
        return commit.commit_url
