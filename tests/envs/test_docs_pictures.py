"""The pictures of the environments in the docs are those that their command draws."""

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
    kept = sorted((DOCS / "pictures").glob("*.png"))
    assert sorted(path.name for path in drawn) == [path.name for path in kept]
    for path in kept:  # another version of Pillow may draw letters otherwise: a sixteenth of the height
        assert np.abs(pixels(path)[16:] - pixels(tmp_path / path.name)[16:]).mean() < 0.5, path.name
        assert path.stat().st_size < 30_000


def test_all_are_shown() -> None:
    text = "".join(page.read_text() for page in DOCS.glob("*.md"))
    shown = set(re.findall(r"\]\(pictures/(\w+\.png)\)", text))
    assert shown == {path.name for path in (DOCS / "pictures").glob("*.png")}
