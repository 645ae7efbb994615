"""The command that draws the pictures of the environments reproduces the pictures in the docs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=float)


def test_the_command_draws_the_pictures_that_are_there(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("draw", DOCS / "pictures" / "draw.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = module.draw(tmp_path)
    assert [path.name for path in drawn] == [*(f"{name}.png" for name in module.SHOWN), "ball_nav_maps.png"]
    for path in drawn:  # the headings, 16 px high, may differ between versions of Pillow
        kept = DOCS / "pictures" / path.name
        assert np.abs(pixels(kept)[16:] - pixels(path)[16:]).mean() < 0.5, path.name
        assert kept.stat().st_size < 30_000


def test_all_are_shown() -> None:
    text = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    shown = set(re.findall(r"\]\((?:\.\./)?pictures/(\w+\.png)\)", text))
    assert shown == {path.name for path in (DOCS / "pictures").glob("*.png")}
