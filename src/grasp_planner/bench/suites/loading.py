"""Load suites from TOML files."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grasp_planner.bench.suites.arm_settings import arm_settings
from grasp_planner.bench.suites.published_results import PUBLISHED
from grasp_planner.bench.suites.settings import fixed_settings
from grasp_planner.bench.suites.spaces import known_settings
from grasp_planner.bench.suites.suite import Arm, Suite
from grasp_planner.bench.tasks import task
from grasp_planner.control.planner_files import planner_of
from grasp_planner.core.errors import GraspPlannerError, known_name, unknown_name
from grasp_planner.io.broken_files import reading
from grasp_planner.io.text_files import read_text
from grasp_planner.io.typed_json import from_json
from grasp_planner.models.registry import model_name

SCHEMA = 2
FOLDER = Path(__file__).parent / "packaged"
PIXELS = 64  # side of the pictures that the models of the variant "pixels" read, unless a cell says otherwise

MOST_TEXT = 2**18
"""Largest size of a suite's file, in bytes."""
MOST_ENTRIES = 1000
SETTINGS, LARGEST_SETTING = (bool, int, float, str), 10**6

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
        GraspPlannerError: no such suite or variant, or an entry of the file is missing, unknown, of another type or out
            of range. The error names the file, the entry and what was expected.

    >>> load_suite("push-t-long").episodes
    100
    """
    path = _file(name_or_path)
    with reading(path, "suite (TOML)"):
        text = read_text(path, MOST_TEXT)
        try:
            content = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise GraspPlannerError(f"{path} is not TOML: {error}") from error
    schema = content.pop("schema", None)
    if type(schema) is not int or schema != SCHEMA:
        raise GraspPlannerError(f"{path} must say schema = {SCHEMA}, got {reprlib.repr(schema)}")
    content["name"] = path.stem
    pictures = content.pop("pixels", None)
    if pictures is not None and not isinstance(pictures, dict):
        raise GraspPlannerError(f"{path}, field 'pixels': needed a table, got {reprlib.repr(pictures)}")
    suite = _suite(content, path, pixels=False)
    if pictures is None:
        if variant == "pixels":
            raise GraspPlannerError(f"the suite {path.stem} has no [pixels]: it is for models of states alone")
        return suite
    if taken := sorted({"name", "pixels", "schema"} & set(pictures)):
        raise GraspPlannerError(f"{path}, field 'pixels': needed changes of the suite, got {taken[0]!r}")
    pictured = _suite({**content, **pictures, "name": f"{path.stem}-pixels"}, path, pixels=True)
    return pictured if variant == "pixels" else suite


def _suite(content: Mapping[str, Any], path: Path, pixels: bool) -> Suite:
    """Check the content of a file, and every planner that it describes."""
    cells = [
        {
            "task": _registered(lambda name: task(name).name, entry.task),
            "horizon": horizon,
            "model": _registered(model_name, model),
            "pixels": entry.pixels or (PIXELS if pixels else None),
        }
        for entry in _entries(content.get("cells"), f"{path}, cells")
        for model in [entry.pixels_model if pixels else entry.model]
        if model is not None
        for horizon in entry.horizons
    ]
    arms = _arms(content.get("arms"), str(path))
    suite = from_json(Suite, {**content, "arms": arms, "cells": cells}, str(path))
    if suite.published and suite.published not in PUBLISHED:
        raise GraspPlannerError(
            f"{path}, field 'published': {unknown_name('published table', suite.published, PUBLISHED)}"
        )
    for arm in suite.arms:
        _check_arm(suite, arm, f"{path}, arm {arm.name!r}")
    return suite


def _arms(arms: Any, place: str) -> Any:
    """Return the arms with fixed settings instead of the names of planners. Other content is left as it is."""
    if not isinstance(arms, list):
        return arms
    found = []
    for i, arm in enumerate(arms):
        planner = arm.get("planner") if isinstance(arm, dict) else None
        if isinstance(planner, dict):
            _check_settings(planner, f"{place}, field 'arms[{i}].planner")
        if isinstance(planner, (dict, str)) and planner:
            try:
                arm = {**arm, "planner": fixed_settings(planner)}
            except GraspPlannerError as error:
                raise GraspPlannerError(f"{place}, field 'arms[{i}].planner': {error}") from error
        found.append(arm)
    return found


def _check_arm(suite: Suite, arm: Arm, place: str) -> None:
    """Make planners of an arm, so that a wrong setting is an error of the file: of every known and a random trial."""
    source = suite.source_of(arm)
    for field, settings in (("change", arm.change), ("around", arm.around)):
        _check_settings(settings or {}, f"{place}, field '{field}")
    try:
        for trial in range(1 + len(known_settings(source.space) if source.space else ())):
            planner_of(arm_settings(arm, source, trial))
    except (GraspPlannerError, TypeError, AttributeError, KeyError, ArithmeticError, RecursionError) as error:
        raise GraspPlannerError(f"{place}: needed the settings of a planner: {error}") from error


def _check_settings(settings: Mapping[str, Any], place: str) -> None:
    for name, value in settings.items():
        if isinstance(value, dict):
            _check_settings(value, f"{place}.{name}")
        elif not isinstance(value, SETTINGS) or (not isinstance(value, str) and not abs(value) <= LARGEST_SETTING):
            raise GraspPlannerError(
                f"{place}.{name}': needed a text, true or false, or a number up to {LARGEST_SETTING:,}, "
                f"got {reprlib.repr(value)}"
            )


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


def _registered(find: Callable[[str], str], name: str) -> str:
    """Return the registered spelling of a name. An unknown name stays as it is: ``Cell`` refuses an unknown task.

    A model that is not on this machine is not refused, because ``--models`` may leave it out.
    """
    try:
        return find(name)
    except GraspPlannerError:
        return name


@dataclass(frozen=True)
class _Entry:
    """A task at several horizons, as the file lists it."""

    task: str
    horizons: tuple[int, ...]
    model: str
    pixels_model: str | None = None
    pixels: int | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.horizons) <= MOST_ENTRIES:
            raise GraspPlannerError(f"horizons must be 1 to {MOST_ENTRIES} numbers, got {len(self.horizons)}")


def _entries(values: Any, place: str) -> list[_Entry]:
    if not isinstance(values, list) or len(values) > MOST_ENTRIES:
        raise GraspPlannerError(f"{place}: needed a list of tables [[cells]], got {reprlib.repr(values)}")
    return [from_json(_Entry, one, f"{place}[{i}]") for i, one in enumerate(values)]
