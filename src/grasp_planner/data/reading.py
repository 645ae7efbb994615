"""Read a data set in the format of Minari or LeRobot, or in DINO-WM's published layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.data import dino_wm_reading, lerobot_reading, minari_reading
from grasp_planner.data.cache import FOLDER, writable
from grasp_planner.data.episodes import Episodes
from grasp_planner.data.unpacking import (
    ACTIONS,
    LENGTHS,
    REWARD,
    Source,
    unpacked_pictures,
    unpacked_rewards,
    unpacked_vectors,
)
from grasp_planner.io.broken_files import broken


def read(
    path: str | Path,
    *,
    keys: Sequence[str] | None = None,
    pictures: bool = True,
    rename: Mapping[str, str] | None = None,
    cache: bool | str | Path = True,
    progress: bool = False,
) -> Episodes:
    """Read a data set: a folder in the format of Minari or LeRobot, or in DINO-WM's published layout.

    The observation ``"observation"`` of a Minari data set (a single array, or an entry of a dictionary as in the
    PointMaze data sets) is renamed to ``"state"``, unless there is another ``"state"``. The observations of a LeRobot
    data set lose the beginning ``observation.`` of their names; its pictures are the videos in its folder. The first
    read unpacks the arrays into the folder ``.arrays`` of the data set. Later reads map them into memory, which takes
    seconds for millions of steps.

    Args:
        path: the folder of the data set, or the id of a Minari data set on this machine
            (``"D4RL/pointmaze/umaze-v2"``).
        keys: observations to read, by their new names; None: all. The key ``"reward"`` reads the rewards of a Minari
            or LeRobot data set: row t + 1 of an episode is the reward of data step t, and row 0 is 0.
        pictures: whether ``keys=None`` includes pictures. Pictures that are not read are not unpacked.
        rename: name in the files -> new name.
        cache: where unpacked arrays are kept. True: in the folder of the data set, or in memory if this folder cannot
            be written. A path: in this folder. False: in memory.
        progress: whether to show a progress bar while unpacking.

    Raises:
        GraspPlannerError: there is no data set, or a file is truncated, mislabelled or empty. The message names the
            file.
        MissingExtraError: a package that reads this format is not installed.

    >>> import tempfile
    >>> from grasp_planner.data import Windows, collect
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     episodes = read(collect("wall", 2, f"{folder}/walks", workers=1, progress=False))
    ...     windows = Windows(episodes, history=1, future=3, frameskip=5)
    >>> len(episodes), episodes.steps, len(windows), windows[0]["actions"].shape
    (2, 100, 72, (3, 10))
    """
    source = locate(Path(path))
    folder = source.root / FOLDER if isinstance(cache, bool) else Path(cache).expanduser()
    kept = folder if cache and writable(folder) else None
    vectors = unpacked_vectors(source, kept, progress)
    held = dict(vectors.arrays)
    lengths, actions = held.pop(LENGTHS), held.pop(ACTIONS)
    names = _names((*held, *source.pictures), rename or {})
    observations = {names[key]: array for key, array in held.items()}
    everything = tuple(name for key, name in names.items() if pictures or key not in source.pictures)
    wanted = everything if keys is None else tuple(keys)
    rewarded = REWARD in wanted and REWARD not in names.values() and source.rewards is not None
    for key in wanted:
        if key not in names.values() and not (key == REWARD and rewarded):
            raise unknown_name(f"observation in {source.root}:", key, names.values())
    for key in source.pictures:
        if names[key] in wanted:
            observations[names[key]] = unpacked_pictures(source, key, lengths, kept, progress)
    if rewarded:
        observations[REWARD] = unpacked_rewards(source, lengths, kept)
    return Episodes.packed(
        {key: observations[key] for key in wanted},
        actions,
        lengths,
        frameskip=source.frameskip,
        source=source.root,
        metadata={**source.metadata, **vectors.notes},
    )


def locate(path: Path) -> Source:
    """Find the data set at `path`.

    Raises:
        GraspPlannerError: there is no data set, or its metadata are broken.
    """
    path = path.expanduser()
    if not path.exists():
        path = _local_minari(path)
    if path.is_file():
        raise broken(path, "needed the folder of a data set, got a file")
    for folder in (path / "data", path):
        if (folder / minari_reading.METADATA).exists() or (folder / minari_reading.MAIN).exists():
            return _minari_source(path, folder)
    if (path / lerobot_reading.MARK).exists():
        return lerobot_reading.open_folder(path)
    if any((path / name).exists() for name in dino_wm_reading.MARKS):
        return dino_wm_reading.open_folder(path)
    parts = sorted(folder.parent.name for mark in dino_wm_reading.MARKS for folder in path.glob(f"*/{mark}"))
    if parts:
        raise broken(path, f"holds several data sets, read one of them: {', '.join(parts)}")
    if (path / "collecting").is_dir():
        raise broken(path, "collection is unfinished: run it again with the same settings to continue")
    what = "the folder is empty" if not any(path.iterdir()) else "the folder holds no data set"
    raise broken(
        path,
        f"{what}: needed Minari's data/{minari_reading.METADATA} and data/{minari_reading.MAIN}, "
        f"LeRobot's {lerobot_reading.MARK}, or DINO-WM's {dino_wm_reading.MARKS[0]}",
    )


def _local_minari(path: Path) -> Path:
    """Return the folder of the Minari data set with this id."""
    if not path.is_absolute():
        # Minari's own function for the root folder creates the folder if it does not exist.
        root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
        if (root / path).exists():
            return root / path
    raise broken(path, "there is no such folder, and no Minari data set of this name on this machine")


def _minari_source(root: Path, folder: Path) -> Source:
    opened = minari_reading.open_folder(folder)

    def frames(key: str, lengths: np.ndarray) -> Iterator[np.ndarray]:
        for observations, _ in minari_reading.each_episode(opened, lambda name: name == key):
            yield observations[key]

    def rewards() -> Iterator[np.ndarray | None]:
        for observations, _ in minari_reading.each_episode(opened, lambda name: name == minari_reading.REWARDS):
            yield observations.get(minari_reading.REWARDS)

    others = (*opened.pictures, minari_reading.REWARDS)

    return Source(
        root=root,
        files=opened.files,
        main=opened.files[-1],
        episodes=int(opened.metadata["total_episodes"]),
        frameskip=opened.frameskip,
        pictures=opened.pictures,
        vectors=lambda: minari_reading.each_episode(opened, lambda name: name not in others),
        frames=frames,
        metadata=opened.metadata,
        rewards=rewards,
    )


def _names(keys: Sequence[str], rename: Mapping[str, str]) -> dict[str, str]:
    for key in rename:
        if key not in keys:
            raise unknown_name("observation to rename", key, keys)
    default = {"observation": "state"} if "state" not in (*keys, *rename.values()) else {}
    names = {key: rename.get(key, default.get(key, key)) for key in keys}
    if len(set(names.values())) < len(names):
        raise GraspPlannerError(f"two observations would have the same name: {names}")
    return names
