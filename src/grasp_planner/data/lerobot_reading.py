"""Read LeRobot data sets, versions 2 and 3: Parquet tables of frames, which ``meta/info.json`` describes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import missing_extra
from grasp_planner.data.lerobot_pictures import pictures, videos
from grasp_planner.data.minari_reading import MOST_RATIO, MOST_UNPACKED
from grasp_planner.data.unpacking import Source
from grasp_planner.io.broken_files import broken, reading
from grasp_planner.io.limited import Budget, check_regular
from grasp_planner.io.text_files import read_json

MARK = "meta/info.json"
VERSIONS = ("v2.", "v3.")
OBSERVATION = "observation."  # begin of the names of observations
ACTION, EPISODE, FRAME, REWARD = "action", "episode_index", "frame_index", "next.reward"
NUMBERS = re.compile(r"(float|int|uint)\d+|bool")
ROWS = 2**14  # rows of a table that are unpacked at once

Columns = Mapping[str, np.ndarray]


def open_folder(root: Path) -> Source:
    """Open the LeRobot data set in a folder. Its tables are read when their content is needed.

    In version 2, a table holds one episode; in version 3, it holds several. A frame holds an observation and the action
    that was taken then. The last action of an episode has no next observation and is left out. The observation
    ``observation.NAME`` is called ``NAME``. Observations that are vectors of numbers are read, and videos that are in
    the folder. Rewards are those of ``next.reward``, the reward of the frame's action.

    Args:
        root: the folder with ``meta`` and ``data``.

    Raises:
        GraspPlannerError: ``meta/info.json`` is broken or of another version, or there are no tables.

    Source: https://github.com/huggingface/lerobot, ``src/lerobot/datasets`` and ``docs/source/lerobot-dataset-v3.mdx``.
    """
    path = root / MARK
    info = read_json(path)
    version = info.get("codebase_version")
    if not isinstance(version, str) or not version.startswith(VERSIONS):
        raise broken(path, f"needed a LeRobot data set of version v2.0, v2.1 or v3.0, got codebase_version {version!r}")
    for name in ("total_episodes", "total_frames"):
        if type(info.get(name)) is not int or info[name] < 1:
            raise broken(path, f"{name} must be a whole number of at least 1, got {info.get(name)!r}")
    vectors = _vectors(path, info.get("features"))
    if ACTION not in vectors:
        raise broken(path, f"needed the feature {ACTION!r}, a vector of numbers, got {', '.join(sorted(vectors))}")
    observations = [name for name in vectors if name.startswith(OBSERVATION)]
    tables = sorted(root.glob("data/*/*.parquet"), key=_place)
    if not tables:
        raise broken(root, "needed tables of frames in data/chunk-000/ as .parquet files, found none")

    def episodes() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        for columns in _episodes(path, tables, [ACTION, *observations], info):
            yield {name.removeprefix(OBSERVATION): columns[name] for name in observations}, columns[ACTION][:-1]

    def rewards() -> Iterator[np.ndarray | None]:
        for columns in _episodes(path, tables, [REWARD] * (REWARD in vectors), info):
            yield columns[REWARD][:-1, 0] if REWARD in columns else None

    seen = {name.removeprefix(OBSERVATION): files for name, files in videos(root, info["features"], _place).items()}

    def frames(key: str, lengths: np.ndarray) -> Iterator[np.ndarray]:
        return pictures(seen[key], lengths)

    return Source(
        root=root,
        files=(path, *tables, *(file for files in seen.values() for file in files)),
        main=root / "data",
        episodes=info["total_episodes"],
        frameskip=1,
        pictures=tuple(seen),
        vectors=episodes,
        frames=frames,
        metadata={
            "layout": "lerobot",
            "version": version,
            "robot_type": info.get("robot_type"),
            "fps": info.get("fps"),
        },
        rewards=rewards,
    )


def _vectors(path: Path, features: Any) -> list[str]:
    """Return the names of the features that are vectors of numbers."""
    with reading(path, "description of a LeRobot data set"):
        return [
            name
            for name, one in features.items()
            if NUMBERS.fullmatch(str(one["dtype"])) is not None and len(one["shape"]) == 1
        ]


def _place(table: Path) -> list[int]:
    """Return the numbers in the name of a table and of its folder, since file-1000 comes after file-999."""
    return [int(number) for number in re.findall(r"\d+", f"{table.parent.name}/{table.name}")]


def _episodes(path: Path, tables: Sequence[Path], names: Sequence[str], info: Mapping[str, Any]) -> Iterator[Columns]:
    """Yield the columns (frames, numbers) of each episode, which may begin in one table and end in the next."""
    episodes, frames, begun = 0, 0, tables[0]
    pieces: list[Columns] = []
    for table in tables:
        for piece in _pieces(table, [EPISODE, FRAME, *names]):
            if pieces and piece[EPISODE][0, 0] != pieces[0][EPISODE][0, 0]:
                yield _whole(pieces, episodes, begun)
                episodes, pieces = episodes + 1, []
            begun = begun if pieces else table
            pieces.append(piece)
            frames += len(piece[EPISODE])
    if pieces:
        yield _whole(pieces, episodes, begun)
        episodes += 1
    if (episodes, frames) != (info["total_episodes"], info["total_frames"]):
        raise broken(
            path,
            f"says {info['total_episodes']} episodes and {info['total_frames']} frames, the tables hold {episodes} and "
            f"{frames}",
        )


def _whole(pieces: Sequence[Columns], episode: int, table: Path) -> Columns:
    """Join the pieces of an episode that begins in a table, and check its number and the numbers of its frames."""
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    number, frames = columns[EPISODE][0, 0], columns[FRAME][:, 0]
    if number != episode:
        raise broken(table, f"needed episode {episode}, got episode {number}: are tables missing?")
    if not np.array_equal(frames, np.arange(len(frames))):
        raise broken(table, f"the frames of episode {episode} are not numbered from 0 to {len(frames) - 1}")
    return columns


def _pieces(table: Path, names: Sequence[str]) -> Iterator[Columns]:
    """Yield rows of a table that belong to one episode, as columns (rows, numbers)."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "lerobot", "reading a LeRobot data set") from error

    with reading(table, "Parquet"):
        size = check_regular(table).stat().st_size
        budget = Budget(max(MOST_UNPACKED, MOST_RATIO * size), f"bytes of numbers, and has {size:,} bytes")
        with parquet.ParquetFile(table) as file:
            if missing := sorted(set(names) - set(file.schema_arrow.names)):
                raise broken(table, f"the columns {missing} are missing")
            for batch in file.iter_batches(batch_size=ROWS, columns=list(names)):
                budget.take(batch.nbytes)
                columns = {name: _numbers(batch.column(name), name) for name in names}
                ends = np.flatnonzero(np.diff(columns[EPISODE][:, 0])) + 1
                for rows in np.split(np.arange(batch.num_rows), ends):
                    if len(rows):
                        yield {name: values[rows] for name, values in columns.items()}


def _numbers(column: Any, name: str) -> np.ndarray:
    """Convert a column of numbers, or of lists of equally many numbers, to an array (rows, numbers)."""
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype == object and len(values):
        values = np.stack(values)
    if values.dtype.kind not in "fiub" or values.ndim > 2:
        raise ValueError(f"the column {name!r} does not hold a number, or a list of numbers, in every row")
    return values.reshape(len(values), -1)
