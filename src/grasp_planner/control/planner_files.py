"""Planners as JSON values, and files with the settings of a planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from grasp_planner.core.errors import GraspPlannerError, known_name, unknown_name
from grasp_planner.io.text_files import read_json, write_json
from grasp_planner.io.typed_json import from_json, to_json
from grasp_planner.planners import PLANNERS
from grasp_planner.planning.protocol import Planner

Settings = dict[str, Any]
"""A planner as JSON values: ``"name"``, the name in ``PLANNERS``, and its fields. A field that holds a planner holds
the settings of that planner."""

NONE = "none"  # the value None, for formats without null
SCHEMA = 1
DIGITS = 17  # significant digits that determine a number exactly


def planner_of(settings: Mapping[str, Any]) -> Planner:
    """Make a planner from its settings. Fields that the settings do not name keep their defaults.

    Raises:
        GraspPlannerError: a planner or field is unknown, or a setting is of another type or out of range.

    >>> planner_of({"name": "cem", "samples": 20, "elites": 4}).samples
    20
    """
    given = dict(settings)
    name = known_name("planner", str(given.pop("name", None)), PLANNERS)
    cls = PLANNERS[name]
    hints = get_type_hints(cls)
    known = {one.name for one in fields(cls)}
    for field, value in given.items():
        if field not in known:
            raise unknown_name(f"setting of {name}", field, known)
        if value in (None, NONE) and NoneType in get_args(hints[field]):
            given[field] = None
        elif hints[field] not in (Planner, Planner | None):
            given[field] = from_json(hints[field], value, f"setting {field!r} of {name}")
        elif isinstance(value, Mapping):
            given[field] = planner_of(value)
        else:
            raise GraspPlannerError(f"setting {field!r} of {name}: needed the settings of a planner, got {value!r}")
    try:
        return cls(**given)
    except TypeError as error:
        raise GraspPlannerError(f"settings of {name}: {error}") from error


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
    if planner_of(settings) != planner:
        raise GraspPlannerError(f"needed a planner that its settings describe completely, got {planner!r}")
    return write_json(path, {"schema": SCHEMA, "planner": settings} | ({} if tuned is None else {"tuned": dict(tuned)}))


def load_planner(path: str | Path) -> Planner:
    """Read a planner from a file that ``save_planner`` or ``grasp tune`` wrote. No code in the file is executed.

    Args:
        path: path of the file.

    Raises:
        GraspPlannerError: there is no such file, it is no planner file, it has an unknown version, it names an unknown
            planner or setting, or a setting is of another type or out of range.

    Example:
        >>> load_planner("missing.json")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: missing.json: there is no such JSON file
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content.get("planner"), dict):
        raise GraspPlannerError(
            f"{path}: needed a planner file with the field 'planner', as `grasp tune` and save_planner write it, got "
            f"the fields {', '.join(content) or 'of an empty object'}"
        )
    if content.get("schema") != SCHEMA:
        raise GraspPlannerError(
            f"{path}: needed a planner file of schema {SCHEMA}, got {content.get('schema')!r}: another release wrote it"
        )
    try:
        return planner_of(content["planner"])
    except GraspPlannerError as error:
        raise GraspPlannerError(f"{path}: {error}") from error
