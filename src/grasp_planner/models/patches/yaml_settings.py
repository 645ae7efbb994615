"""The YAML settings of a published checkpoint, read by dotted name."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.text_files import read_yaml

LARGEST = 2**16


class Settings:
    """Nested settings by dotted name. Error messages name the file.

    Args:
        path: the YAML file.

    Raises:
        MissingExtraError: PyYAML is not installed.
        GraspPlannerError: the file is missing, is not YAML, or does not hold a mapping.
    """

    def __init__(self, path: Path) -> None:
        self.content, self.path = read_yaml(path), path

    def get(self, name: str, default: Any = None) -> Any:
        """Return the setting, or ``default`` if it is missing or null."""
        value: Any = self.content
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    def integer(self, name: str, least: int = 0) -> int:
        """An integer from ``least`` to ``LARGEST``.

        Raises:
            GraspPlannerError: the setting is missing or has another value.
        """
        value = self.get(name)
        if type(value) is not int or not least <= value <= LARGEST:
            raise GraspPlannerError(f"{self.path} must have {name}, an integer >= {least}; got {reprlib.repr(value)}")
        return value

    def require(self, name: str, *allowed: Any) -> Any:
        """Return the setting, which must have one of the supported values.

        Raises:
            GraspPlannerError: the setting has another value.
        """
        value = self.get(name)
        if value not in allowed:
            raise GraspPlannerError(
                f"{self.path} has {name} = {reprlib.repr(value)}; supported here: {', '.join(map(repr, allowed))}"
            )
        return value
