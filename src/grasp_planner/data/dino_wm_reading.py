"""Read data sets in DINO-WM's published layout: ``states.pth``, ``actions.pth``, ``obses/episode_000.mp4``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.data.unpacking import Source
from grasp_planner.data.videos import video_frames
from grasp_planner.io.broken_files import broken, reading
from grasp_planner.io.pickles import read_plain_pickle

MARKS = ("states.pth", "seq_lengths.pkl", "rel_actions.pth")
PIXELS = "pixels"
ACTION_SCALE = 100.0  # Push-T's files hold px, its environment takes units of 100 px
PLACES = {"door_locations.pth": "door_location", "wall_locations.pth": "wall_location"}
SUFFIXES = (".pth", ".mp4")


def open_folder(root: Path) -> Source:
    """Open a folder in DINO-WM's layout. Its files are read when their content is needed.

    In this layout an episode has as many states as actions. The last action has no next state and is left out.
    Observations are ``"state"``, ``"proprio"`` (in Push-T the pusher's position and velocity, otherwise the state), the
    places of wall and door if there are files for them, and ``"pixels"`` if there is a folder ``obses``. Push-T's
    actions are the relative actions, in the environment's unit of 100 px. No code in the files is run: tensors are read
    by ``grasp_planner.io.torch_files`` and pickles by ``grasp_planner.io.pickles``.

    Args:
        root: the folder with ``states.pth``; for Push-T the folder ``train`` or ``val``.

    Source: https://github.com/gaoyuezhou/dino_wm, ``datasets/``.
    """
    tables = sorted(file for file in root.iterdir() if file.suffix in (".pth", ".pkl"))
    pictures = sorted(file for file in root.glob("obses/episode_*") if file.suffix in SUFFIXES)
    metadata: dict[str, Any] = {"layout": "dino_wm"}
    if (root / "shapes.pkl").exists():
        shapes = read_plain_pickle(root / "shapes.pkl")
        if not isinstance(shapes, list):
            raise broken(root / "shapes.pkl", f"needed a list, got a {type(shapes).__name__}")
        metadata["shapes"] = shapes

    def frames(key: str, lengths: np.ndarray) -> Iterator[np.ndarray]:
        for index, length in enumerate(lengths):
            yield _pictures(root / "obses", index, int(length) + 1)

    return Source(
        root=root,
        files=(*tables, *pictures),
        main=root / "states.pth",
        episodes=None,
        frameskip=1,
        pictures=(PIXELS,) if pictures else (),
        vectors=lambda: _episodes(root),
        frames=frames,
        metadata=metadata,
    )


def _episodes(root: Path) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    states = _tensor(root / "states.pth")
    if states.ndim != 3 or 0 in states.shape:
        raise broken(root / "states.pth", f"needed states of shape (episodes, steps, state), got {states.shape}")
    lengths = _lengths(root, states.shape)
    relative = (root / "rel_actions.pth").exists()
    actions = _fitting(root / ("rel_actions.pth" if relative else "actions.pth"), states, rank=3)
    if relative:
        actions = actions / actions.dtype.type(ACTION_SCALE)
    columns = {"state": states, "proprio": states}
    if (root / "velocities.pth").exists():
        velocities = _fitting(root / "velocities.pth", states, rank=3)
        columns["state"] = np.concatenate([states, velocities], axis=-1)
        columns["proprio"] = np.concatenate([states[..., :2], velocities], axis=-1)
    for name, key in PLACES.items():
        if (root / name).exists():
            columns[key] = _fitting(root / name, states)
    for i, length in enumerate(lengths):
        yield {key: array[i, :length] for key, array in columns.items()}, actions[i, : length - 1]


def _lengths(root: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the number of states of each episode. Without a file of lengths, every episode has the full length."""
    file = next(
        (root / f"seq_lengths{end}" for end in (".pkl", ".pth") if (root / f"seq_lengths{end}").exists()),
        None,
    )
    if file is None:
        return np.full(shape[0], shape[1])
    content = read_plain_pickle(file) if file.suffix == ".pkl" else _tensor(file)
    with reading(file, "list of lengths"):
        lengths = np.asarray(content).astype(np.int64).reshape(-1)
    if len(lengths) != shape[0]:
        raise broken(file, f"holds {len(lengths)} lengths, states.pth {shape[0]} episodes")
    wrong = np.flatnonzero((lengths < 2) | (lengths > shape[1]))
    if len(wrong):
        raise broken(
            file,
            f"episode {wrong[0]} has the length {lengths[wrong[0]]}, needed 2 to {shape[1]}, the steps in states.pth",
        )
    return lengths


def _fitting(path: Path, states: np.ndarray, rank: int | None = None) -> np.ndarray:
    """Read a table, and check that it has the same episodes and steps as `states`."""
    table = _tensor(path)
    if table.shape[:2] != states.shape[:2] or (rank is not None and table.ndim != rank):
        raise broken(
            path,
            f"has the shape {table.shape}, needed {states.shape[:2]} episodes and steps, as in states.pth",
        )
    return table


def _tensor(path: Path) -> np.ndarray:
    """Read the tensor in a file. Other dtypes than floating point and uint8 are converted to float32."""
    import torch

    from grasp_planner.io.torch_files import load_tensors

    content = load_tensors(path)
    if not isinstance(content, torch.Tensor):
        raise broken(path, f"needed a tensor, got a {type(content).__name__}")
    array = content.numpy()
    return array if array.dtype.kind == "f" or array.dtype == np.uint8 else array.astype(np.float32)


def _pictures(folder: Path, index: int, count: int) -> np.ndarray:
    """Read the first `count` pictures (count, height, width, 3) uint8 of an episode."""
    names = [folder / f"episode_{index:03d}{suffix}" for suffix in SUFFIXES]
    path = next((name for name in names if name.exists()), None)
    if path is None:
        raise broken(folder, f"there is neither {names[0].name} nor {names[1].name}")
    frames = np.stack(list(video_frames(path, count))) if path.suffix == ".mp4" else _picture_tensor(path)
    if len(frames) < count:
        raise broken(path, f"holds {len(frames)} pictures, the episode has {count} states")
    return frames[:count]


def _picture_tensor(path: Path) -> np.ndarray:
    frames = _tensor(path)
    if frames.ndim == 4 and frames.shape[-1] != 3 and frames.shape[1] == 3:
        frames = frames.transpose(0, 2, 3, 1)  # Wall's files have the channels first
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise broken(path, f"needed pictures of shape (steps, height, width, 3), got {frames.shape}")
    if frames.dtype != np.uint8:
        low, high = frames.min(), frames.max()
        if low < 0 or high > 255 or high <= 1:
            raise broken(path, f"needed pictures with values 0 to 255, got {low:.3g} to {high:.3g}")
        frames = np.rint(frames).astype(np.uint8)
    return frames
