"""Unpack a data set: check its episodes, concatenate them to long arrays, and store the arrays in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grasp_planner.data import cache
from grasp_planner.io.broken_files import broken
from grasp_planner.io.progress import progress_bar

# Keys of arrays that are not observations; observations have no "#" in their keys.
LENGTHS, ACTIONS = "#lengths", "#actions"
REWARD = "reward"  # the name of rewards among observations


@dataclass(frozen=True)
class Source:
    """A data set on disk, independent of its format.

    Attributes:
        root: the data set's folder; unpacked arrays are kept in it.
        files: the files of the data set.
        main: the file that error messages name.
        episodes: number of episodes, if known beforehand.
        frameskip: environment steps per data step.
        pictures: keys of pictures, which can be larger than memory and are unpacked only on demand.
        vectors: function that yields the other observations, key -> (T + 1, ...), and actions (T, a) of each episode.
        frames: function of a key of pictures and the lengths of the episodes, which yields the array
            (T + 1, height, width[, 3]) uint8 of each episode.
        metadata: the data set's metadata.
        rewards: function that yields the rewards (T,) of each episode, if it has any; ``None``: the format has none.
    """

    root: Path
    files: tuple[Path, ...]
    main: Path
    episodes: int | None
    frameskip: int
    pictures: tuple[str, ...]
    vectors: Callable[[], Iterator[tuple[dict[str, np.ndarray], np.ndarray]]]
    frames: Callable[[str, np.ndarray], Iterator[np.ndarray]]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    rewards: Callable[[], Iterator[np.ndarray | None]] | None = None


class Unpacked(NamedTuple):
    """Arrays of concatenated episodes, and notes about them."""

    arrays: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]


def unpacked_vectors(source: Source, folder: Path | None, progress: bool) -> Unpacked:
    """Read lengths, actions and all observations except pictures, from `folder` if the arrays are stored there.

    Raises:
        GraspPlannerError: the data are broken; the message names the file.
    """

    def build(writer: cache.Writer) -> Mapping[str, Any]:
        joined = _joined(source, progress)
        for key, array in joined.arrays.items():
            writer.write(key, array.shape, array.dtype, [array])
        return joined.notes

    if folder is None:
        return _joined(source, progress)
    kept = _kept(source, folder / "vectors", build)
    _check_kept(kept.arrays, folder / "vectors")
    return kept


def _check_kept(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Refuse kept arrays that do not belong to the same episodes."""
    lengths, actions = arrays.get(LENGTHS), arrays.get(ACTIONS)
    if lengths is None or actions is None or lengths.ndim != 1 or lengths.dtype.kind != "i" or actions.ndim != 2:
        raise broken(folder, "needed the lengths and the actions of the episodes; delete this folder")
    steps = int(lengths.sum())
    rows = {key: steps if key == ACTIONS else steps + len(lengths) for key in arrays if key != LENGTHS}
    if not len(lengths) or lengths.min() < 1 or any(arrays[key].shape[:1] != (count,) for key, count in rows.items()):
        raise broken(folder, "the arrays do not have the rows of the same episodes; delete this folder")


def unpacked_pictures(source: Source, key: str, lengths: np.ndarray, folder: Path | None, progress: bool) -> np.ndarray:
    """Read all pictures of a key, (rows, height, width[, 3]) uint8, from `folder` if the array is stored there.

    Raises:
        GraspPlannerError: the data are broken; the message names the file.
    """
    rows = int(lengths.sum()) + len(lengths)

    def build(writer: cache.Writer) -> Mapping[str, Any]:
        frames = _frames(source, key, lengths, progress)
        first = next(frames)

        def parts() -> Iterator[np.ndarray]:
            yield first
            yield from frames

        writer.write(key, (rows, *first.shape[1:]), np.uint8, parts())
        return {}

    if folder is None:
        return np.concatenate(list(_frames(source, key, lengths, progress)))
    place = folder / f"pictures_{key.replace('/', '_')}"
    kept = _kept(source, place, build).arrays.get(key)
    if kept is None or len(kept) != rows or kept.dtype != np.uint8:
        raise broken(place, f"needed {rows} pictures of {key!r}; delete this folder")
    return kept


def unpacked_rewards(source: Source, lengths: np.ndarray, folder: Path | None) -> np.ndarray:
    """Read the rewards with one row for each observation: 0, and then the reward of each step of the episode.

    Raises:
        GraspPlannerError: the data are broken, or they have no rewards.
    """

    def joined() -> np.ndarray:
        pieces: list[np.ndarray] = []
        for index, rewards in enumerate(source.rewards() if source.rewards is not None else ()):
            if rewards is None or rewards.ndim != 1 or rewards.dtype.kind not in "fiub":
                raise broken(source.main, f"episode {index} has no rewards, needed one number for each step")
            checked = _checked(source, f"the rewards of episode {index}", rewards, int(lengths[index]))
            pieces.append(np.concatenate([np.zeros(1), checked]))
        return np.concatenate(pieces)

    def build(writer: cache.Writer) -> Mapping[str, Any]:
        rows = joined()
        writer.write(REWARD, rows.shape, rows.dtype, [rows])
        return {}

    if folder is None:
        return joined()
    kept = _kept(source, folder / "rewards", build).arrays.get(REWARD)
    if kept is None or kept.shape != (int(lengths.sum()) + len(lengths),) or kept.dtype.kind != "f":
        raise broken(folder / "rewards", "needed one reward for each observation; delete this folder")
    return kept


def _kept(source: Source, place: Path, build: Callable[[cache.Writer], Mapping[str, Any]]) -> Unpacked:
    mark = cache.fingerprint(source.files, source.root)
    found = cache.stored(place, mark)
    if found is None:
        cache.store(place, mark, build)
        found = cache.stored(place, mark)
    if found is None:
        raise broken(source.root, "the data set was changed while it was read")
    return Unpacked(*found)


def _joined(source: Source, progress: bool) -> Unpacked:
    columns: dict[str, list[np.ndarray]] = {}
    lengths: list[int] = []
    with progress_bar(f"reading {source.root.name}", source.episodes, show=progress) as advance:
        for index, (observations, actions) in enumerate(source.vectors()):
            pieces = {ACTIONS: _flat_actions(source, index, actions)}
            for key, data in observations.items():
                pieces[key] = _checked(source, f"{key!r} of episode {index}", data, len(actions) + 1)
            if index and set(pieces) != set(columns):
                differing = sorted(set(pieces) ^ set(columns))
                raise broken(source.main, f"episode {index} and episode 0 differ in the keys {differing}")
            for key, data in pieces.items():
                known = columns.setdefault(key, [])
                if known and known[0].shape[1:] != data.shape[1:]:
                    name = "the actions" if key == ACTIONS else repr(key)
                    raise broken(
                        source.main,
                        f"{name} of episode {index} have the shape {data.shape[1:]}, those of episode 0 "
                        f"{known[0].shape[1:]}",
                    )
                known.append(data)
            lengths.append(len(actions))
            advance(1)
    if not lengths:
        raise broken(source.main, "the data set holds no episodes")
    total = source.metadata.get("total_steps", sum(lengths))
    if total != sum(lengths):
        raise broken(source.main, f"holds {sum(lengths)} steps, the metadata say {total}")
    skipped = sorted(key for key, pieces in columns.items() if pieces[0].dtype.kind not in "fiub")
    arrays = {key: np.concatenate(pieces) for key, pieces in columns.items() if key not in skipped}
    arrays[LENGTHS] = np.array(lengths, dtype=np.int64)
    return Unpacked(arrays, {"skipped": skipped} if skipped else {})


def _flat_actions(source: Source, index: int, actions: np.ndarray) -> np.ndarray:
    if actions.ndim < 2 or actions.dtype.kind != "f":
        raise broken(
            source.main,
            f"episode {index} has actions {actions.dtype} {actions.shape}, needed numbers of shape (steps, action): "
            "discrete actions are not supported",
        )
    if len(actions) == 0:
        raise broken(source.main, f"episode {index} is empty")
    flat = actions.reshape(len(actions), -1)
    if flat.shape[1] % source.frameskip:
        raise broken(
            source.main,
            f"the actions of episode {index} hold {flat.shape[1]} numbers, which is no multiple of the frameskip "
            f"{source.frameskip} in the metadata",
        )
    return _checked(source, f"the actions of episode {index}", flat, len(flat))


def _checked(source: Source, name: str, data: np.ndarray, rows: int) -> np.ndarray:
    if data.ndim == 0 or len(data) != rows:
        raise broken(source.main, f"{name} has the shape {data.shape}, needed {rows} rows")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        row = int(np.flatnonzero(~np.isfinite(data).reshape(rows, -1).all(axis=1))[0])
        raise broken(source.main, f"{name} holds a value that is not finite, in row {row}")
    return data


def _frames(source: Source, key: str, lengths: np.ndarray, progress: bool) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] = ()
    with progress_bar(f"unpacking {key}", len(lengths), show=progress) as advance:
        for index, frames in enumerate(source.frames(key, lengths)):
            name = f"{key!r} of episode {index}"
            _checked(source, name, frames, int(lengths[index]) + 1)
            shape = shape or frames.shape[1:]
            if frames.dtype != np.uint8 or frames.shape[1:] != shape:
                raise broken(source.main, f"{name} is {frames.dtype} {frames.shape[1:]}, needed uint8 {shape} pictures")
            yield frames
            advance(1)
