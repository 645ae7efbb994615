"""Settings files of other projects: YAML, and what a loader needs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.io.untrusted import small_text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; tags that would build objects are refused.

    Raises:
        MissingExtraError: PyYAML is not installed.
        GraspPlannerError: the file is missing, is not YAML, or holds no mapping.
    """
    try:
        import yaml
    except ImportError as error:
        raise missing_extra("pyyaml", "adapters", f"reading {path.name}") from error
    try:
        content = yaml.safe_load(small_text(path))
    except OSError as error:
        raise GraspPlannerError(f"needed the settings file {path}, which cannot be read: {error.strerror}") from error
    except GraspPlannerError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        raise GraspPlannerError(f"{path} is not plain YAML: {(str(error) or 'no reason').splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise GraspPlannerError(f"{path} must hold settings by name, got {type(content).__name__}")
    return content


class Settings:
    """Nested settings by dotted name, with an error that names the file where one is missing or of another kind."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        self.content, self.path = content, path

    def get(self, name: str, default: Any = None) -> Any:
        """The setting, or ``default`` where it is missing or null."""
        value: Any = self.content
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    def whole(self, name: str, least: int = 0) -> int:
        """An integer of at least ``least``.

        Raises:
            GraspPlannerError: it is missing, or something else.
        """
        value = self.get(name)
        if type(value) is not int or value < least:
            raise GraspPlannerError(f"{self.path} must have {name}, an integer >= {least}; got {value!r}")
        return value

    def require(self, name: str, *allowed: Any) -> Any:
        """One of the values that are supported.

        Raises:
            GraspPlannerError: it is another.
        """
        value = self.get(name)
        if value not in allowed:
            raise GraspPlannerError(
                f"{self.path} has {name} = {value!r}; supported here: {', '.join(map(repr, allowed))}"
            )
        return value
