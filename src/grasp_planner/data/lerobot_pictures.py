"""Pictures of LeRobot data sets: videos of single episodes (version 2), or of many episodes in a row (version 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.data.videos import video_frames
from grasp_planner.io.broken_files import broken


def videos(root: Path, features: Mapping[str, Any], place: Callable[[Path], list[int]]) -> dict[str, list[Path]]:
    """Return the files of each feature that is a video, in the order of the frames, if there are any.

        version 2: videos/chunk-000/NAME/episode_000000.mp4        version 3: videos/NAME/chunk-000/file-000.mp4

    Args:
        root: folder of the data set.
        features: the features of ``meta/info.json``.
        place: function of a file that returns the numbers by which files are sorted.
    """
    files = sorted(root.glob("videos/*/*/*.mp4"), key=place)
    names = [name for name, one in features.items() if one["dtype"] == "video"]
    found = {name: [file for file in files if name in (file.parent.name, file.parent.parent.name)] for name in names}
    return {name: each for name, each in found.items() if each}


def pictures(files: Sequence[Path], lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pictures (T + 1, height, width, 3) uint8 of each episode, of T steps.

    Raises:
        GraspPlannerError: a file is broken, or the videos do not have one frame for each frame of the tables.
    """
    counts = [int(length) + 1 for length in lengths]
    if files[0].name.startswith("episode"):
        if len(files) != len(counts):
            raise broken(files[0].parent, f"needed a video for each of {len(counts)} episodes, found {len(files)}")
        for file, count in zip(files, counts, strict=True):
            yield _exactly(count, video_frames(file, count + 1), file)
        return
    stream = (frame for file in files for frame in video_frames(file, sum(counts) + 1))
    for episode, count in enumerate(counts):
        frames = list(islice(stream, count))
        if len(frames) < count:
            raise broken(files[-1], f"the videos end inside of episode {episode}: they have too few frames")
        yield np.stack(frames)
    if next(stream, None) is not None:
        raise broken(files[-1], f"the videos have more frames than the {sum(counts)} of the tables")


def _exactly(count: int, frames: Iterator[np.ndarray], file: Path) -> np.ndarray:
    """Stack frames, of which there must be ``count``."""
    found = list(frames)
    if len(found) != count:
        told = f"{count + 1} or more" if len(found) > count else str(len(found))
        raise broken(file, f"holds {told} frames, the episode has {count}")
    return np.stack(found)
