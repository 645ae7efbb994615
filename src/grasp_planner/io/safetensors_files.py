"""Safetensors files from untrusted sources: the list of tensors is checked before it is read."""

from __future__ import annotations

import struct
from pathlib import Path

from grasp_planner.io.limited import check_regular

MOST_HEADER = 2**21
"""Largest size of the list of tensors, in bytes; a tensor takes about 100."""


def check_header(path: Path) -> None:
    """Refuse a file whose list of tensors would take seconds to read.

    Raises:
        ValueError: the path is not a regular file, or the list has more than ``MOST_HEADER`` bytes.
        OSError: the file cannot be read.
    """
    with check_regular(path).open("rb") as file:
        start = file.read(8)
    size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if size > MOST_HEADER:
        raise ValueError(f"its list of tensors has {size:,} bytes, needed at most {MOST_HEADER:,}")
