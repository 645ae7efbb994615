"""Records as JSON values: one flat object per record, with its schema and its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from grasp_planner.bench.records import KINDS, Record
from grasp_planner.bench.work import Work
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.io.typed_json import from_json, to_json

SCHEMA = 3
CLOCK = "clock"  # the field that depends on the machine and the time of day


def record_to_json(record: Record) -> dict[str, Any]:
    """Convert a record to JSON values: schema, kind, the fields of ``Work``, and the fields of the record."""
    content = to_json(record)
    return {"schema": SCHEMA, "kind": record.kind, **content.pop("work"), **content}


def record_from_json(content: Any, place: str) -> Record:
    """Convert JSON values to a record.

    Args:
        content: JSON values.
        place: place of the record in error messages, such as a file and a line.

    Raises:
        GraspPlannerError: a field is missing, unknown, or of another type; the error names the place and the field.
    """
    if not isinstance(content, Mapping) or "schema" not in content:
        raise GraspPlannerError(f"{place}: needed a record with the field 'schema'")
    if content["schema"] != SCHEMA:
        raise GraspPlannerError(f"{place}: needed a record of schema {SCHEMA}, got schema {content['schema']!r}")
    names = {one.kind: one for one in KINDS}
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in names:
        raise GraspPlannerError(f"{place}: {unknown_name('kind of record', str(kind), names)}")
    shared = {one.name for one in fields(Work)}
    rest = {name: value for name, value in content.items() if name not in shared | {"schema", "kind"}}
    work = {name: value for name, value in content.items() if name in shared}
    return from_json(names[kind], rest | {"work": from_json(Work, work, place)}, place)


def comparable(record: Record) -> dict[str, Any]:
    """Convert a record to JSON values, without the field that depends on the machine and the time of day."""
    return {name: value for name, value in record_to_json(record).items() if name != CLOCK}
