"""Write a Minari data set with its metadata from finished shards."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import missing_extra
from grasp_planner.data.minari_reading import MAIN
from grasp_planner.data.reading import read
from grasp_planner.data.recipe import Recipe, specification
from grasp_planner.data.rollouts import Named, make_environment
from grasp_planner.data.shards import joined
from grasp_planner.data.statistics import compute, dumps
from grasp_planner.io.atomic import write_folder_atomically
from grasp_planner.io.progress import progress_bar

SCHEMA = 1


def assemble(recipe: Recipe, parts: list[range], folder: Path, out: Path, progress: bool) -> None:
    """Join the shards in `folder` to the data set ``out/data``, which is written atomically.

    Args:
        recipe: the recipe of the data set.
        parts: the episodes of each shard.
        folder: the folder of the shards.
        out: the folder of the data set.
        progress: whether to show a progress bar.

    Raises:
        MissingExtraError: Minari is not installed.
        OSError: the data set cannot be written.
    """
    try:
        from minari import __version__ as minari_version
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise missing_extra("minari", "data", "writing a Minari data set") from error

    observations, actions, names = _spaces(recipe)
    spec = copy.deepcopy(specification(recipe.environment))
    if recipe.pixels is not None:
        spec.kwargs["pixels"] = recipe.pixels

    def write(temporary: Path) -> None:
        data = temporary.absolute()  # Minari joins a relative path with itself when it computes sizes
        storage = MinariStorage.new(data, observations, actions, spec, jpeg_encoding=False)
        with progress_bar(f"writing {out.name}", recipe.episodes, show=progress) as advance:
            for part in joined(folder, parts, data / MAIN):
                advance(len(part))
        steps = _count_steps(data / MAIN)
        about = f"{recipe.environment}, policy {recipe.policy}, {recipe.every} environment steps per step"
        own = {
            "schema": SCHEMA,
            "environment": recipe.environment,
            "policy": recipe.policy,
            "seed": recipe.seed,
            "frameskip": recipe.every,
            "version": recipe.version,
            "state_names": names,
            "recipe": asdict(recipe),
        }
        storage.update_metadata(
            {
                "dataset_id": dataset_id(out),
                "minari_version": minari_version,
                "total_episodes": recipe.episodes,
                "total_steps": steps,
                "algorithm_name": recipe.policy,
                "description": about,
                "requirements": ["grasp-planner[envs]"],
                "grasp_planner": own,
            }
        )
        # The data set is read back as a last check before it is renamed.
        found = dumps(compute(read(data.parent, pictures=False, cache=False)))
        storage.update_metadata(
            {"grasp_planner": own | {"statistics": found}, "dataset_size": float(storage.get_size())}
        )

    write_folder_atomically(out / "data", write)


def dataset_id(out: Path) -> str:
    """Return Minari's id for a data set in this folder: the folder's name with a version.

    >>> dataset_id(Path("runs/push t")), dataset_id(Path("push_t-v3"))
    ('push-t-v0', 'push_t-v3')
    """
    name = re.sub(r"[^-\w]", "-", out.resolve().name)
    return name if re.search(r"-v\d+$", name) else f"{name}-v0"


def _spaces(recipe: Recipe) -> tuple[Any, Any, list[str]]:
    """Return the spaces of observations (with pictures) and of action blocks, and the names of the state's numbers."""
    from gymnasium import spaces

    env = make_environment(recipe)
    observations = dict(env.observation_space.spaces)
    if recipe.pixels is not None:
        observations["pixels"] = spaces.Box(0, 255, (recipe.pixels, recipe.pixels, 3), np.uint8)
    low, high = np.tile(env.action_space.low, recipe.every), np.tile(env.action_space.high, recipe.every)
    blocks = spaces.Box(low, high, dtype=env.action_space.dtype)
    env.close()
    return spaces.Dict(observations), blocks, list(env.state_names) if isinstance(env, Named) else []


def _count_steps(path: Path) -> int:
    import h5py

    with h5py.File(path, "r") as file:
        return sum(int(group.attrs["total_steps"]) for group in file.values())
