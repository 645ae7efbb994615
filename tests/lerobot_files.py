"""Data sets as LeRobot writes them, small and of random numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = (6, 10, 4)  # of each episode
FEATURES: dict[str, dict[str, Any]] = {
    "observation.state": {"dtype": "float32", "shape": [3], "names": ["x", "y", "angle"]},
    "observation.environment_state": {"dtype": "float64", "shape": [1], "names": None},
    "observation.images.top": {"dtype": "video", "shape": [96, 96, 3], "names": ["height", "width", "channel"]},
    "observation.grid": {"dtype": "float32", "shape": [2, 2], "names": None},
    "action": {"dtype": "float32", "shape": [2], "names": ["left", "right"]},
    "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "task": {"dtype": "string", "shape": [1], "names": None},
}
Columns = dict[str, np.ndarray]


def frames() -> list[Columns]:
    """The frames of each episode."""
    rng = np.random.default_rng(0)
    return [
        {
            "observation.state": rng.normal(size=(count, 3)).astype(np.float32),
            "observation.environment_state": rng.normal(size=count),
            "observation.grid": rng.normal(size=(count, 2, 2)).astype(np.float32),
            "action": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
            "next.reward": rng.normal(size=count).astype(np.float32),
            "timestamp": (np.arange(count) / 10).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, index),
            "task": np.array(["push"] * count),
        }
        for index, count in enumerate(FRAMES)
    ]


def column(values: np.ndarray, fixed: bool) -> Any:
    """Vectors are lists of a fixed length in tables of LeRobot, and lists of any length in tables of other programs."""
    import pyarrow

    if values.ndim != 2:
        return pyarrow.array(values.tolist() if values.ndim > 2 else values)
    items, width = pyarrow.array(values.reshape(-1)), values.shape[1]
    if fixed:
        return pyarrow.FixedSizeListArray.from_arrays(items, width)
    return pyarrow.ListArray.from_arrays(pyarrow.array(np.arange(len(values) + 1) * width, pyarrow.int32()), items)


def write_table(path: Path, episodes: Sequence[Columns], fixed: bool = True) -> None:
    """Write the frames of some episodes as a table, in row groups of 7 rows."""
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    joined = {name: np.concatenate([one[name] for one in episodes]) for name in episodes[0]}
    columns = {name: column(values, fixed) for name, values in joined.items()}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=7)


def write_info(root: Path, version: str | None, **changes: Any) -> None:
    """Write the description of the data set."""
    (root / "meta").mkdir(parents=True, exist_ok=True)
    content = {
        "codebase_version": version,
        "robot_type": "so101",
        "fps": 10,
        "total_episodes": len(FRAMES),
        "total_frames": sum(FRAMES),
        "features": FEATURES,
    }
    (root / "meta" / "info.json").write_text(json.dumps({**content, **changes}))


def table_of(root: Path, episode: int) -> Path:
    """The table of an episode in a data set of version 2."""
    return root / "data" / "chunk-000" / f"episode_{episode:06d}.parquet"


def version_2(root: Path) -> None:
    """Write one table for each episode."""
    write_info(root, "v2.1")
    for index, episode in enumerate(frames()):
        write_table(table_of(root, index), [episode], fixed=False)


def version_3(root: Path) -> None:
    """Write several episodes in a table. The second episode begins in the first table and ends in the second table."""
    made = frames()
    begin = {name: values[:7] for name, values in made[1].items()}
    end = {name: values[7:] for name, values in made[1].items()}
    write_info(root, "v3.0")
    write_table(root / "data" / "chunk-000" / "file-999.parquet", [made[0], begin])
    write_table(root / "data" / "chunk-000" / "file-1000.parquet", [end, made[2]])  # sorted by number, not by letters
