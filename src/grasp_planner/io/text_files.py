"""JSON and YAML files: atomic writing, and reading with limits on size and nesting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.io.atomic import write_atomically
from grasp_planner.io.broken_files import broken, reading

MOST_TEXT = 64 * 2**20
"""Largest size of a text file of settings, in bytes. Real files have some thousand bytes."""


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        GraspPlannerError: the file is larger than ``MOST_TEXT`` bytes.
        OSError: the file cannot be read.
        ValueError: the file is not UTF-8.
    """
    size = path.stat().st_size
    if size > MOST_TEXT:
        raise GraspPlannerError(f"{path} has {size:,} bytes, which is more than a text file of settings has")
    return path.read_text(encoding="utf-8")


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not JSON, or it is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        GraspPlannerError: the file is missing, is not JSON, or holds something other than an object.
    """
    with reading(path, "JSON"):
        content = parse_json(read_text(path))
    if not isinstance(content, dict):
        raise broken(path, f"needed a JSON object, got a {type(content).__name__}")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write ``content`` as indented JSON, atomically."""
    text = json.dumps(content, indent=2) + "\n"
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file. Tags that would build objects are refused.

    Raises:
        MissingExtraError: PyYAML is not installed.
        GraspPlannerError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        import yaml
    except ImportError as error:
        raise missing_extra("pyyaml", "adapters", f"reading {path.name}") from error
    try:
        content = yaml.safe_load(read_text(path))
    except OSError as error:
        raise GraspPlannerError(f"needed the settings file {path}, which cannot be read: {error.strerror}") from error
    except GraspPlannerError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        raise GraspPlannerError(f"{path} is not plain YAML: {(str(error) or 'no reason').splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise GraspPlannerError(f"{path} must hold settings by name, got {type(content).__name__}")
    return content
