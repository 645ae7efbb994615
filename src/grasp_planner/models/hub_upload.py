"""Uploads of models to the Hugging Face Hub."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from grasp_planner.models.hub import CARD_FILE, FILES, OPTIONAL_FILES, check_name, using_hub
from grasp_planner.models.model_card import LIBRARY, hub_card
from grasp_planner.models.registry import load_world_model, model_folder


class Saveable(Protocol):
    """A model that can be written to a folder."""

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model and return the folder."""
        ...


def push_to_hub(
    name_or_folder: str | Path, repository: str, *, license: str | None = None, private: bool = False
) -> str:
    """Upload a saved model with its model card to the Hugging Face Hub, in one commit.

    The model is loaded first, so that no broken file is uploaded. The repository is created if needed. Uploaded are
    ``config.json``, ``model.safetensors``, the model card ``README.md`` and, if the folder has them, ``training.json``
    and ``planner.json``; no other file. Metadata of the Hub are put above the card. A folder without a card gets a card
    with the sizes, the held-out errors and the training of the model.

    Log in once with ``hf auth login``, or set ``HF_TOKEN``.

    Args:
        name_or_folder: a folder that ``grasp train`` or ``save_pretrained`` wrote, or the name of a packaged model.
        repository: ``"owner/name"``, where the owner is your user name or an organisation.
        license: licence of the weights as the Hub spells it, such as ``"mit"``; ``None``: the licence in the metadata
            of the card, if any.
        private: whether a new repository is private. An existing repository stays as it is.

    Returns:
        The address of the commit.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
        GraspPlannerError: the folder holds no model of this package, the repository's name has another form, access is
            denied, or the Hub cannot be reached.

    Example:
        >>> push_to_hub("pusht-state", "my-robots")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: needed a repository of the Hub as 'owner/name', got 'my-robots'
    """
    check_name(repository)
    folder = model_folder(name_or_folder)
    if folder is None or not (folder / CONFIG_FILE).is_file():
        raise GraspPlannerError(
            f"needed a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, as save_pretrained writes it, got {name_or_folder}"
        )
    model = load_world_model(folder)
    with (
        using_hub(f"uploading to {repository!r} on the Hugging Face Hub") as hub,
        tempfile.TemporaryDirectory() as temporary,
    ):
        staging = Path(temporary)
        for name in FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, staging / name)
        (staging / CARD_FILE).write_text(hub_card(folder, model, repository, license), encoding="utf-8")
        api = hub.HfApi(library_name=LIBRARY)
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=staging,
            commit_message=f"Upload {repository.partition('/')[2]}",
            delete_patterns=list(OPTIONAL_FILES),  # those of an earlier model
        )
        return commit.commit_url


def push_model(model: Saveable, repository: str, license: str | None, private: bool) -> str:
    """Upload a model in memory, with a new card; see ``push_to_hub``.

    Raises:
        GraspPlannerError: see ``push_to_hub``.
    """
    with tempfile.TemporaryDirectory() as folder:
        return push_to_hub(model.save_pretrained(folder), repository, license=license, private=private)
