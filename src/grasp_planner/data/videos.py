"""Read the frames of a video one after the other, by ffmpeg."""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from grasp_planner.core.errors import missing_extra
from grasp_planner.io.broken_files import reading
from grasp_planner.io.limited import check_regular

MOST_PIXELS = 2**24  # in one picture
SECONDS = 600.0  # limit for decoding a video of up to ``FRAMES`` frames; longer videos may take longer in proportion
FRAMES = 10_000
HEADER = re.compile(rb"P6\s(\d+)\s(\d+)\s255\s")


def video_frames(path: Path, most: int) -> Iterator[np.ndarray]:
    """Yield the first frames (height, width, 3) uint8 of a video, without repeating or dropping any for a frame rate.

    Args:
        path: the file, in the container mp4.
        most: the largest number of frames to read.

    Raises:
        GraspPlannerError: the file is missing or broken, or holds no frames.
        MissingExtraError: imageio-ffmpeg is not installed.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise missing_extra("imageio-ffmpeg", "data", "reading .mp4 files") from error

    # PPM frames contain their size, so that ffmpeg's messages need not be parsed.
    # The container is fixed, since ffmpeg would follow a playlist in this file to other files.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe"]
    command += ["-max_pixels", str(MOST_PIXELS), "-f", "mov", "-i", f"file:{path}", "-frames:v", str(most)]
    command += ["-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "-"]
    with reading(path, "video (.mp4)"), tempfile.TemporaryFile() as messages:
        check_regular(path)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages)
        watch = threading.Timer(SECONDS * max(1.0, most / FRAMES), process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            count = 0
            for frame in _ppm_frames(process.stdout):
                yield frame
                count += 1
            if process.wait():
                messages.seek(0)
                said = messages.read().decode(errors="replace").strip().splitlines()
                raise ValueError(said[-1] if said else f"ffmpeg ended with {process.returncode}")
            if not count:
                raise ValueError("it holds no pictures")
        finally:
            watch.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _ppm_frames(stream: IO[bytes]) -> Iterator[np.ndarray]:
    """Yield the pictures of a stream; a stream that ends inside of a picture ends with the picture before."""
    while line := stream.readline():
        header = line + stream.readline() + stream.readline()
        found = HEADER.fullmatch(header)
        if found is None:
            raise ValueError("the video's frames do not follow each other")
        width, height = int(found[1]), int(found[2])
        content = stream.read(width * height * 3)
        if len(content) < width * height * 3:
            return
        yield np.frombuffer(content, np.uint8).reshape(height, width, 3)
