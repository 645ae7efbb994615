"""Planners as JSON values, and files with the settings of a planner."""

from __future__ import annotations

import reprlib
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from grasp_planner.core.errors import GraspPlannerError, known_name, unknown_name
from grasp_planner.io.text_files import read_json, write_json
from grasp_planner.io.typed_json import from_json, to_json
from grasp_planner.models.hub import download_planner, is_repository
from grasp_planner.planners import PLANNERS
from grasp_planner.planning.protocol import Planner

Settings = dict[str, Any]
"""A planner as JSON values: ``"name"``, the name in ``PLANNERS``, and its fields. A field that holds a planner holds
the settings of that planner."""

NONE = "none"  # the value None, for formats without null
SCHEMA = 1
DIGITS = 17  # significant digits that determine a number exactly
MOST_NESTED = 20
"""Largest number of planners inside each other in settings."""
MOST_BYTES = 2**18
"""Largest size of a planner file, in bytes."""


def planner_of(settings: Mapping[str, Any]) -> Planner:
    """Make a planner from its settings. Fields that the settings do not name keep their defaults.

    Raises:
        GraspPlannerError: a planner or field is unknown, a setting is missing, of another type or out of range, or too
            many planners are inside each other.

    >>> planner_of({"name": "cem", "samples": 20, "elites": 4}).samples
    20
    """
    return _planner(settings, MOST_NESTED)


def _planner(settings: Mapping[str, Any], levels: int) -> Planner:
    """Make a planner from settings with at most ``levels`` planners inside each other."""
    if levels == 0:
        raise GraspPlannerError(f"needed settings with at most {MOST_NESTED} planners inside each other, got more")
    given = dict(settings)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise GraspPlannerError(
            f"needed settings with the name of a planner in the field 'name', got {reprlib.repr(dict(settings))}"
        )
    name = known_name("planner", name, PLANNERS)
    hints, known = get_type_hints(PLANNERS[name]), {one.name: one for one in fields(PLANNERS[name])}
    for field, value in given.items():
        if field not in known:
            raise unknown_name(f"setting of {name}", field, known)
        if value in (None, NONE) and NoneType in get_args(hints[field]):
            given[field] = None
        elif hints[field] not in (Planner, Planner | None):
            given[field] = from_json(hints[field], value, f"setting {field!r} of {name}")
        elif isinstance(value, Mapping):
            given[field] = _planner(value, levels - 1)
        else:
            raise GraspPlannerError(
                f"setting {field!r} of {name}: needed the settings of a planner, got {reprlib.repr(value)}"
            )
    for field, one in known.items():
        if field not in given and one.default is MISSING and one.default_factory is MISSING:
            raise GraspPlannerError(f"settings of {name}: the setting {field!r} is missing")
    return PLANNERS[name](**given)


def settings_of(planner: Any) -> Settings:
    """Describe a planner by its name and all its fields, defaults included.

    A planner that is not in ``PLANNERS`` is described by the name of its class.

    >>> from grasp_planner import GRASP
    >>> settings_of(GRASP())["sync"]["name"]
    'gd'
    """
    names = {cls: name for name, cls in PLANNERS.items()}
    content: Settings = {"name": names.get(type(planner), type(planner).__name__)}
    if not is_dataclass(planner):
        return content | {"settings": repr(planner)}
    for one in fields(planner):
        value = getattr(planner, one.name)
        content[one.name] = settings_of(value) if type(value) in names else value
    return content


def save_planner(planner: Planner, path: str | Path, tuned: Mapping[str, Any] | None = None) -> Path:
    """Write a planner's settings to a JSON file, for ``load_planner`` and for ``grasp plan planner:FILE``.

    Args:
        planner: a planner whose class is in ``PLANNERS``, as are the classes of the planners inside it.
        path: path of the file, whose name ends in ``.json``. The file is written atomically.
        tuned: JSON values that say where the settings come from. They are kept in the file, and are not read.

    Raises:
        GraspPlannerError: the name of the file does not end in ``.json``, or the planner cannot be made again from its
            settings.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from grasp_planner import CEM
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_planner(save_planner(CEM(samples=500), f"{folder}/planner.json")).samples
        500
    """
    path = Path(path)
    if path.suffix != ".json":
        raise GraspPlannerError(f"the name of a planner file must end in .json, got {path}")
    settings = to_json(settings_of(planner), DIGITS)
    try:
        complete = planner_of(settings) == planner
    except GraspPlannerError as error:
        raise GraspPlannerError(
            f"needed a planner of this package, as are the planners inside it, got {planner!r}: {error}"
        ) from error
    if not complete:
        raise GraspPlannerError(f"needed a planner that its settings describe completely, got {planner!r}")
    origin = {} if tuned is None else {"tuned": to_json(tuned, DIGITS)}
    return write_json(path, {"schema": SCHEMA, "planner": settings, **origin})


def load_planner(path: str | Path) -> Planner:
    """Read a planner from a file that ``save_planner`` or ``grasp tune`` wrote. No code in the file is executed.

    Args:
        path: path of the file, whose name ends in ``.json``; or ``"owner/name"``, a repository on the Hugging Face Hub
            with a ``planner.json``, unless there is a folder ``owner``.

    Raises:
        GraspPlannerError: there is no such file, it is no planner file, it has an unknown version, it names an unknown
            planner or setting, a setting is of another type or out of range, or the file cannot be downloaded.
        MissingExtraError: the name is that of a repository, and ``huggingface_hub`` is not installed.

    Example:
        >>> load_planner("missing.json")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: missing.json: there is no such JSON file
    """
    on_the_hub = is_repository(path) and Path(path).suffix != ".json"
    path = download_planner(str(path)) if on_the_hub else Path(path)
    content = read_json(path, MOST_BYTES)
    if not isinstance(content.get("planner"), dict):
        found = textwrap.shorten(", ".join(content), 100) or "of an empty object"
        raise GraspPlannerError(
            f"{path}: needed a planner file with the field 'planner', as `grasp tune` and save_planner write it, got "
            f"the fields {found}"
        )
    if (schema := content.get("schema")) != SCHEMA:
        raise GraspPlannerError(
            f"{path}: needed a planner file of schema {SCHEMA}, got {reprlib.repr(schema)}: another release wrote it; "
            "save the planner again with save_planner of this release"
        )
    try:
        return planner_of(content["planner"])
    except GraspPlannerError as error:
        raise GraspPlannerError(f"{path}: {error}") from error
