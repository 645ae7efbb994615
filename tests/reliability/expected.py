"""The expected outcome of every cell of the fault matrix, read from the table in docs/reliability.md."""

from __future__ import annotations

import functools
from pathlib import Path

from faults import EXTENTS, KINDS, PARTS, WHENS

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"

Cell = tuple[str, str, str, str]
"""Part, kind, extent and time of a fault."""


@functools.cache
def table() -> dict[Cell, str]:
    """Read every cell and its outcome. A cell of the document lists one outcome for all times, or one for each time."""
    found: dict[Cell, str] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        entries = [entry.strip() for entry in line.strip().strip("|").split("|")]
        if len(entries) != 2 + len(EXTENTS) or entries[0] not in PARTS:
            continue
        part, kind, *outcomes = entries
        for extent, written in zip(EXTENTS, outcomes, strict=True):
            each = written.split(" / ")
            if written == "-":
                continue
            for place, when in enumerate(WHENS):
                found[part, kind, extent, when] = each[place if len(each) > 1 else 0]
    return found


def cells(*parts: str) -> list[tuple[str, str, str]]:
    """List (part, kind, extent) for some parts, in the order of the document; each stands for three cells."""
    return [
        (part, kind, extent)
        for part in parts
        for kind in KINDS
        for extent in EXTENTS
        if (part, kind, extent, WHENS[0]) in table()
    ]
