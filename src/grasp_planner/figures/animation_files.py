"""Animations as files: frames are written as MP4 or GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.io.atomic import write_atomically

SUFFIXES = (".mp4", ".gif")
FRAMES_PER_SECOND = 12


def write_animation(path: Path, frames: Iterator[np.ndarray], samples: Sequence[np.ndarray]) -> Path:
    """Write frames as an animation of 12 frames per second, atomically.

    Args:
        path: a path that ends in ``.mp4`` or ``.gif``.
        frames: pictures (height, width, 3) uint8 of one size; for an MP4, height and width are even.
        samples: some of the frames. A GIF has one palette for all frames, which is made from the samples; this is
            faster than one palette per frame and avoids flicker.

    Raises:
        GraspPlannerError: the path has another suffix, or ffmpeg could not write the video.
        MissingExtraError: imageio, its ffmpeg or pillow is not installed.
    """
    check_suffix(path)
    if path.suffix == ".mp4":
        return write_atomically(path, lambda part: _write_mp4(part, frames))
    return write_atomically(path, lambda part: _write_gif(part, frames, samples))


def check_suffix(path: Path) -> None:
    """Raise unless a path ends in ``.mp4`` or ``.gif``.

    Raises:
        GraspPlannerError: the path has another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise GraspPlannerError(f"an animation is a file {' or '.join(SUFFIXES)}, got {path.name!r}")


def _write_mp4(path: Path, frames: Iterator[np.ndarray]) -> None:
    try:
        import imageio.v2 as imageio
        import imageio_ffmpeg
    except ImportError as error:
        raise missing_extra("imageio-ffmpeg", "figures", "an animation as mp4 (gif does without)") from error
    options = {"fps": FRAMES_PER_SECOND, "macro_block_size": 2, "quality": 8, "format": "FFMPEG"}
    drawn, written, cause = 0, 0, None
    try:
        with imageio.get_writer(path, **options) as writer:
            for frame in frames:
                writer.append_data(frame)  # type: ignore[attr-defined]
                drawn += 1
        # The writer does not report that ffmpeg failed, so the frames in the file are counted.
        written = imageio_ffmpeg.count_frames_and_secs(str(path))[0] or 0
    except (OSError, RuntimeError) as error:
        cause = error
    if cause is not None or (written or 0) < drawn:
        raise GraspPlannerError(
            f"{path.name}: ffmpeg could not write the video: is the disk full? A gif does without ffmpeg"
        ) from cause


def _write_gif(path: Path, frames: Iterator[np.ndarray], samples: Sequence[np.ndarray]) -> None:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("pillow", "figures", "an animation") from error
    palette = Image.fromarray(np.concatenate(samples)).quantize(255)
    images = (Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    lasts = 10 * round(100 / FRAMES_PER_SECOND)  # ms; a gif counts time in units of 10 ms
    with path.open("wb") as file:
        next(images).save(file, format="GIF", save_all=True, append_images=images, duration=lasts, loop=0)
