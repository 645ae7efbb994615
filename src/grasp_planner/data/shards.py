"""Shards of an unfinished collection: files of a few finished episodes, written atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grasp_planner.data.hdf5_writing import hdf5, written_hdf5
from grasp_planner.data.recipe import Recipe
from grasp_planner.data.rollouts import Prepared, Recording, make_environment, roll
from grasp_planner.domains.domain import Policy
from grasp_planner.io.atomic import write_atomically

SHARD_STEPS = 2000  # environment steps in a shard; a killed process loses at most one shard
CHUNK_BYTES = 100_000  # bytes of pictures that are compressed together


def shards(recipe: Recipe) -> list[range]:
    """Return the episodes of each shard, which depend only on the recipe and not on the number of processes."""
    size = max(1, SHARD_STEPS // recipe.steps)
    return [range(first, min(first + size, recipe.episodes)) for first in range(0, recipe.episodes, size)]


def shard_file(folder: Path, episodes: range) -> Path:
    """Return the path of the shard with these episodes."""
    return folder / f"episodes_{episodes.start:08d}.hdf5"


def finished(folder: Path, episodes: range) -> bool:
    """Return whether the shard exists and is complete. A damaged shard is removed."""
    path = shard_file(folder, episodes)
    if not path.exists():
        return False
    try:
        with hdf5().File(path, "r") as file:
            whole = set(file) == {name(index) for index in episodes}
    except OSError:
        whole = False
    if not whole:
        path.unlink(missing_ok=True)
    return whole


def collect_shard(recipe: Recipe, make_policy: Callable[[], Policy], episodes: range, folder: Path) -> range:
    """Collect these episodes and write their shard.

    Returns:
        ``episodes``.
    """
    env, policy = make_environment(recipe), make_policy()
    if isinstance(policy, Prepared):
        policy.prepare(recipe.seed, episodes)

    def write(temporary: Path) -> None:
        with written_hdf5(temporary) as file:
            for index in episodes:
                write_episode(file.content, index, roll(env, policy, recipe, index))
                file.check()

    try:
        write_atomically(shard_file(folder, episodes), write)
    finally:
        env.close()
    return episodes


def write_episode(file: Any, index: int, recording: Recording) -> None:
    """Write an episode in Minari's HDF5 format; pictures are compressed without loss."""
    group = file.create_group(name(index))
    group.attrs.update({"id": index, "total_steps": len(recording.actions), "seed": recording.seed})
    if recording.goal is not None:
        group.attrs["goal"] = recording.goal
    observations = group.create_group("observations")
    for key, data in recording.observations.items():
        if data.ndim < 4:
            observations.create_dataset(key, data=data)
            continue
        frames = min(len(data), max(1, CHUNK_BYTES // data[0].nbytes))
        chunks = (frames, *data.shape[1:])
        observations.create_dataset(key, data=data, chunks=chunks, compression="gzip", compression_opts=1)
    for key in ("actions", "rewards", "terminations", "truncations"):
        group.create_dataset(key, data=getattr(recording, key))
    group.create_group("infos").create_dataset("success", data=recording.success)


def joined(folder: Path, parts: list[range], target: Path) -> Iterator[range]:
    """Join all shards into one file without decompressing them, and yield the episodes of each finished shard."""
    with written_hdf5(target) as whole:
        for episodes in parts:
            with hdf5().File(shard_file(folder, episodes), "r") as file:
                for index in episodes:
                    file.copy(name(index), whole.content)
                    whole.check()
            yield episodes


def name(index: int) -> str:
    """Return Minari's name of an episode's group."""
    return f"episode_{index}"
