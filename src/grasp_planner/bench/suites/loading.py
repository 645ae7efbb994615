"""Load suites from TOML files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grasp_planner.bench.suites.suite import Suite
from grasp_planner.bench.tasks import task
from grasp_planner.core.errors import GraspPlannerError, known_name
from grasp_planner.io.typed_json import from_json
from grasp_planner.models.registry import model_name

SCHEMA = 2
FOLDER = Path(__file__).parent / "packaged"
PIXELS = 64  # side of the pictures that models read, unless a cell says otherwise

Variant = Literal["state", "pixels"]


def suites() -> dict[str, Path]:
    """Return the suites of the package: name -> file.

    >>> "smoke" in suites()
    True
    """
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_suite(name_or_path: str | Path, variant: Variant = "state") -> Suite:
    """Load a suite of the package, or a suite from a TOML file.

    Args:
        name_or_path: one of ``suites()`` in any spelling, or a file.
        variant: ``"state"``, or ``"pixels"`` for the same suite with models that read pictures. The variant
            ``"pixels"`` uses the ``pixels_model`` of every cell, and the changes in ``[pixels]`` of the file.

    Raises:
        GraspPlannerError: there is no such suite or variant, or the file lacks an entry that a suite needs.

    >>> load_suite("push-t-long").episodes
    500
    """
    path = _file(name_or_path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GraspPlannerError(f"{path} is not TOML: {error}") from error
    if content.pop("schema", None) != SCHEMA:
        raise GraspPlannerError(f"{path} must say schema = {SCHEMA}")
    pictures = content.pop("pixels", None)
    name = path.stem
    if variant == "pixels":
        if pictures is None:
            raise GraspPlannerError(f"the suite {name} has no [pixels]: it is for models of states alone")
        name += "-pixels"
        content |= pictures
    cells = [
        {
            "task": task(entry.task).name,
            "horizon": horizon,
            "model": _registered(model),
            "pixels": entry.pixels if pixels else None,
        }
        for entry in _entries(content.pop("cells", []), f"{path}, cells")
        for model, pixels in [(entry.pixels_model, True) if variant == "pixels" else (entry.model, False)]
        if model is not None
        for horizon in entry.horizons
    ]
    return from_json(Suite, {**content, "name": name, "cells": cells}, str(path))


def _file(name_or_path: str | Path) -> Path:
    """The file of a suite."""
    packaged, path = suites(), Path(name_or_path)
    if str(name_or_path) in packaged:
        return packaged[str(name_or_path)]
    if path.is_file():
        return path
    if path.suffix or path.name != str(name_or_path):
        raise GraspPlannerError(
            f"there is no suite file {path}: give an existing TOML file, or one of the suites {', '.join(packaged)}"
        )
    return packaged[known_name("suite", str(name_or_path), packaged)]


def _registered(model: str) -> str:
    """The registered name of a model. A model that is not on this machine may still be left out with ``--models``."""
    try:
        return model_name(model)
    except GraspPlannerError:
        return model


@dataclass(frozen=True)
class _Entry:
    """A task at several horizons, as the file lists it."""

    task: str
    horizons: tuple[int, ...]
    model: str
    pixels_model: str | None = None
    pixels: int = PIXELS


def _entries(values: Any, place: str) -> list[_Entry]:
    if not isinstance(values, list):
        raise GraspPlannerError(f"{place}: needed a list of tables [[cells]], got {type(values).__name__}")
    return [from_json(_Entry, one, f"{place}[{i}]") for i, one in enumerate(values)]
