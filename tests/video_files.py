"""Small videos, as other programs write them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames (n, height, width, 3) uint8 as mp4, nearly without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "10", "-i", "-"]
    coding = ["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv444p", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *raw, *coding]
    subprocess.run(command, input=frames.tobytes(), check=True)


def shades(rng: np.random.Generator, count: int, side: int = 32) -> np.ndarray:
    """Return pictures of one colour each."""
    return np.tile(rng.integers(40, 215, (count, 1, 1, 3)).astype(np.uint8), (1, side, side, 1))
