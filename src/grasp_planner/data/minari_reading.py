"""Read Minari data sets episode by episode, from this package and from others."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import missing_extra
from grasp_planner.io.broken_files import broken, reading
from grasp_planner.io.limited import Budget, check_regular
from grasp_planner.io.pickle_limits import MOST_NESTED
from grasp_planner.io.text_files import read_json

METADATA = "metadata.json"
MAIN = "main_data.hdf5"
# A file is refused if its arrays together have more bytes than the first and more bytes per byte of the file than the
# second.
MOST_UNPACKED, MOST_RATIO = 2**27, 200
NUMBERS = "fiub"  # kinds of dtypes
PICTURE_SIDE = 32  # Minari's own limit: smaller uint8 arrays are grids, not pictures
REWARDS = "#rewards"  # the key of the rewards in `each_episode`; observations have no "#" in their keys


@dataclass(frozen=True)
class MinariFolder:
    """The ``data`` folder of a Minari data set, and its metadata.

    Attributes:
        folder: the folder with ``metadata.json`` and the data.
        metadata: content of ``metadata.json``.
        pictures: keys of the observations that are pictures.
        files: the files of the data set.
    """

    folder: Path
    metadata: Mapping[str, Any]
    pictures: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def own(self) -> Mapping[str, Any]:
        """The metadata that `grasp_planner.data.collecting.collect` wrote; empty for other data sets."""
        own = self.metadata.get("grasp_planner", {})
        return own if isinstance(own, Mapping) else {}

    @property
    def frameskip(self) -> int:
        """Environment steps per data step."""
        return int(self.own.get("frameskip", 1))


def open_folder(folder: Path) -> MinariFolder:
    """Open the data set in `folder`, and check its metadata.

    Raises:
        GraspPlannerError: the metadata are missing, broken or not those of a Minari data set.
    """
    metadata = read_json(folder / METADATA)
    missing = sorted({"total_episodes", "total_steps"} - set(metadata))
    if missing:
        raise broken(folder / METADATA, f"not the metadata of a Minari data set: {', '.join(missing)} missing")
    counts = {name: metadata[name] for name in ("total_episodes", "total_steps")}
    counts["frameskip"] = MinariFolder(folder, metadata, (), ()).own.get("frameskip", 1)
    for name, count in counts.items():
        if type(count) is not int or count < (name == "frameskip"):
            raise broken(folder / METADATA, f"{name} must be a count, got {count!r}")
    if metadata["total_episodes"] == 0:
        raise broken(folder, "the data set holds no episodes")
    pictures: tuple[str, ...] = ()
    if "observation_space" in metadata:
        with reading(folder / METADATA, "the metadata of a Minari data set"):
            pictures = tuple(_picture_keys(json.loads(metadata["observation_space"]), ""))
    if metadata.get("data_format", "hdf5") == "hdf5":
        files = (folder / METADATA, folder / MAIN)
        if not files[1].exists():
            raise broken(files[1], "the data set's main file is missing")
    else:
        files = tuple(file for file in folder.rglob("*") if file.is_file() and ".arrays" not in file.parts)
    return MinariFolder(folder, metadata, pictures, files)


def each_episode(
    source: MinariFolder, wanted: Callable[[str], bool]
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Yield the observations, key -> (T + 1, ...), and the actions (T, ...) of each episode.

    Nested dictionaries of observations get keys like ``"a/b"``. Observations that are a single array get the key
    ``"observation"``.

    Args:
        source: the data set.
        wanted: function that says whether to read a key. The key ``REWARDS`` stands for the rewards (T,).

    Raises:
        GraspPlannerError: the file is truncated, or it lacks a part of a Minari data set.
    """
    if source.metadata.get("data_format", "hdf5") != "hdf5":
        yield from _through_minari(source, wanted)
        return
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("h5py", "data", "reading a Minari data set") from error

    path, count = source.folder / MAIN, int(source.metadata["total_episodes"])
    jpeg = bool(source.metadata.get("jpeg_encoding", True))
    with reading(path, "HDF5"):
        size = check_regular(path).stat().st_size
        budget = Budget(max(MOST_UNPACKED, MOST_RATIO * size), f"bytes of arrays, and has {size:,} bytes")
        with h5py.File(path, "r") as file:
            if len(file) != count:
                raise broken(path, f"holds {len(file)} episodes, {METADATA} says {count}")
            groups = [_episode(file, index, path, h5py) for index in range(count)]
            _check_tree(file, set(), 0, h5py)
            for group in groups:
                if not isinstance(group["actions"], h5py.Dataset):
                    raise broken(path, "the actions are a dictionary or tuple, needed one array")
                _check_array(group["actions"], budget)
                for key, data in _arrays(group, h5py):
                    if wanted(key):
                        _check_array(data, budget)
            for group in groups:
                observations = {
                    key: _decoded(data, budget) if jpeg and key in source.pictures else _numbers(data)
                    for key, data in _arrays(group, h5py)
                    if wanted(key)
                }
                yield observations, _numbers(group["actions"])


def _episode(file: Any, index: int, path: Path, h5py: Any) -> Any:
    """The group of an episode; links are refused before they are followed."""
    name = f"episode_{index}"
    if not isinstance(file.get(name, getlink=True), (h5py.HardLink, type(None))):
        raise ValueError(f"{name} is a link, which is not followed")
    group = file.get(name)
    if not isinstance(group, h5py.Group) or not {"observations", "actions"} <= set(group):
        raise broken(path, f"{name} is missing, or has no observations and actions")
    return group


def _arrays(group: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Yield the observations of an episode, and its rewards if it has any."""
    yield from _leaves(group["observations"], "", h5py.Group)
    if isinstance(group.get("rewards"), h5py.Dataset):
        yield REWARDS, group["rewards"]


def _leaves(node: Any, name: str, group: type) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, group):
        yield name or "observation", node
        return
    for key, child in node.items():
        yield from _leaves(child, f"{name}/{key}" if name else key, group)


def _check_tree(group: Any, seen: set[Any], depth: int, h5py: Any) -> None:
    """Refuse links, and objects with two names, which can multiply or lead in circles; Minari writes none."""
    if depth > MOST_NESTED:
        raise ValueError(f"groups are nested more than {MOST_NESTED} deep")
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{key} is a link, which is not followed")
        child = group[key]
        place = h5py.h5o.get_info(child.id).addr
        if place in seen:
            raise ValueError(f"{group.name}/{key} has a second name, which no data set of Minari has")
        seen.add(place)
        if isinstance(child, h5py.Group):
            _check_tree(child, seen, depth + 1, h5py)


def _check_array(data: Any, budget: Budget) -> None:
    """Refuse an array whose numbers are in other files, and count the memory that reading it takes."""
    if data.is_virtual or data.external:
        raise ValueError(f"{data.name} takes its numbers from another file, which is not followed")
    chunk = math.prod(data.chunks or ()) * data.dtype.itemsize  # unpacked as a whole, even for one number
    budget.take(max(data.nbytes, chunk))


def _numbers(data: Any) -> np.ndarray:
    """Read an array of numbers. Other arrays are not read, since strings of any length can share their memory."""
    return data[()] if data.dtype.kind in NUMBERS else np.broadcast_to(np.array(b""), data.shape)


def _decoded(data: Any, budget: Budget) -> np.ndarray:
    """Decode JPEG pictures one by one."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("pillow", "envs", "decoding JPEG pictures") from error

    def picture(row: int) -> np.ndarray:
        image = Image.open(io.BytesIO(np.asarray(data[row]).tobytes()), formats=["JPEG"])
        budget.take(3 * image.width * image.height)
        return np.asarray(image, dtype=np.uint8)

    return np.stack([picture(row) for row in range(len(data))])


def _through_minari(
    source: MinariFolder, wanted: Callable[[str], bool]
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Read formats other than HDF5 with Minari's reader."""
    try:
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise missing_extra("minari", "data", "reading a Minari data set that is not HDF5") from error

    with reading(source.folder, f"a Minari data set in the format {source.metadata['data_format']!r}"):
        storage = MinariStorage.read(source.folder)
        for episode in storage.get_episodes(range(storage.total_episodes)):
            observations = dict(_leaves(episode["observations"], "", dict)) | {REWARDS: episode["rewards"]}
            yield (
                {key: np.asarray(data) for key, data in observations.items() if wanted(key)},
                episode["actions"],
            )


def _picture_keys(space: Mapping[str, Any], name: str) -> Iterator[str]:
    if space["type"] == "Dict":
        for key, child in space["subspaces"].items():
            yield from _picture_keys(child, f"{name}/{key}" if name else key)
    elif space["type"] == "Box" and space["dtype"] == "uint8" and len(space["shape"]) in (2, 3):
        if min(space["shape"][:2]) >= PICTURE_SIDE:
            yield name or "observation"
