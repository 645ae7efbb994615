"""Random damage to files, for fuzzing."""

from __future__ import annotations

import random
import struct


def changed(data: bytes, draw: random.Random) -> bytes:
    """Return the content of a file with random damage."""
    place = draw.randrange(max(1, len(data)))
    kind = draw.choice(["cut", "flip", "flips", "zeros", "noise", "longer", "gone", "twice", "number"])
    if kind == "cut":
        return data[:place]
    if kind in ("flip", "flips"):
        found = bytearray(data)
        for _ in range(1 if kind == "flip" else 20):
            found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
        return bytes(found)
    if kind == "number":  # a length or an offset that is far too large
        return data[:place] + struct.pack("<q", draw.choice([-1, 2**31, 2**40, 2**62])) + data[place + 8 :]
    size = draw.randrange(1, 64)
    middle = {"zeros": bytes(size), "noise": draw.randbytes(size), "longer": draw.randbytes(size), "gone": b""}
    rest = place if kind in ("longer", "twice") else place + size
    return data[:place] + middle.get(kind, data[place : place + size]) + data[rest:]
