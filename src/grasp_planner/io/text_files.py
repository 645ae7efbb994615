"""JSON and YAML files: atomic writing, and reading with limits on size and nesting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.io.atomic import write_atomically
from grasp_planner.io.broken_files import broken, reading
from grasp_planner.io.limited import read_limited

MOST_JSON = 2**24
"""Largest size of a JSON file, in bytes. The metadata of a Minari data set hold the bounds of every pixel."""
MOST_YAML = 2**15
"""Largest size of a YAML file, in bytes; settings have some thousand, and reading takes some 60 us per byte."""
DEEPEST_YAML = 100
MOST_NODES = 100_000
"""Most values in a YAML file, with a value counted wherever an alias repeats it."""
LONGEST_VALUE = 2000


def read_text(path: Path, most: int) -> str:
    """Read a regular text file of at most ``most`` bytes in UTF-8.

    Raises:
        OSError: the file cannot be read.
        ValueError: the path is a device or a pipe, the file is larger, or it is not UTF-8.
    """
    return read_limited(path, most).decode("utf-8")


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not JSON, or it is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path, most: int = MOST_JSON) -> dict[str, Any]:
    """Read the object in a JSON file of at most ``most`` bytes.

    Raises:
        GraspPlannerError: the file is missing, too large or not JSON, or it holds something other than an object.
    """
    with reading(path, "JSON"):
        content = parse_json(read_text(path, most))
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
        content = _yaml_content(read_text(path, MOST_YAML), yaml)
    except OSError as error:
        raise GraspPlannerError(f"needed the settings file {path}, which cannot be read: {error.strerror}") from error
    except GraspPlannerError:
        raise
    except Exception as error:  # besides its own errors, PyYAML raises those of dates, numbers and recursion
        raise GraspPlannerError(f"{path} is not plain YAML: {(str(error) or 'no reason').splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise GraspPlannerError(f"{path} must hold settings by name, got {type(content).__name__}")
    return content


def _yaml_content(text: str, yaml: Any) -> Any:
    """Build the content of a YAML text after its size was checked, since an alias can repeat a value that repeats.

    Raises:
        ValueError: the text holds more than ``MOST_NODES`` values, or one of more than ``LONGEST_VALUE`` letters, or
            it is nested more than ``DEEPEST_YAML`` deep, which takes PyYAML's parser hours.
    """
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        name = type(token).__name__
        if name.startswith(("Block", "Flow")):
            depth += name.endswith("StartToken") - name.endswith("EndToken")
        if depth > DEEPEST_YAML:
            raise ValueError(f"nested more than {DEEPEST_YAML} deep")
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if _size(root, {}) > MOST_NODES:
            raise ValueError(f"it holds more than {MOST_NODES:,} values")
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _size(node: Any, known: dict[int, int]) -> int:
    """Number of values in a node, those behind aliases counted wherever they are repeated."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # for a node that holds itself
        if isinstance(node.value, str):
            if len(node.value) > LONGEST_VALUE:
                raise ValueError(f"a value of {len(node.value):,} letters")
            known[id(node)] = 1
        else:
            children = [one for entry in node.value for one in (entry if isinstance(entry, tuple) else (entry,))]
            known[id(node)] = 1 + sum(_size(one, known) for one in children)
    return known[id(node)]
