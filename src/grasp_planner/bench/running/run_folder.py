"""The folder of a run, and the file in it that says which suite the records belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasp_planner.bench.record_json import SCHEMA
from grasp_planner.bench.suites.spaces import spaces
from grasp_planner.bench.suites.suite import Suite
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.atomic import make_folder
from grasp_planner.io.text_files import read_json, write_json
from grasp_planner.io.typed_json import from_json, to_json

RUN_FILE = "suite.json"


@dataclass(frozen=True)
class RunFile:
    """The content of ``suite.json`` in the folder of a run.

    Args:
        schema: version of the record format.
        suite: the suite of the run.
        digest: digest of the suite.
        models: name -> hash, for the models of the suite.
        spaces: name -> content, for the spaces in which planners are tuned.
    """

    schema: int
    suite: Suite
    digest: str
    models: dict[str, str]
    spaces: Mapping[str, Any]

    @classmethod
    def of(cls, suite: Suite, models: dict[str, str]) -> RunFile:
        """Return the content of the file for a run of this suite."""
        used = sorted({arm.space for arm in suite.arms if arm.space})
        return cls(SCHEMA, suite, suite.digest(), models, {name: spaces()[name] for name in used})


def read_run_file(folder: Path) -> RunFile:
    """Read which suite the records in a folder belong to.

    Raises:
        GraspPlannerError: the folder is not the folder of a run, or the run has another version.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise GraspPlannerError(f"needed the folder of a run of `grasp bench`, got {folder}, which has no {RUN_FILE}")
    content = read_json(path)
    if content.get("schema") != SCHEMA:
        raise GraspPlannerError(f'{path} must say "schema": {SCHEMA}; runs of other versions cannot be continued')
    return from_json(RunFile, content, str(path))


def claim_folder(folder: Path, wanted: RunFile) -> None:
    """Write ``suite.json``, or check that the folder already holds this run.

    Raises:
        GraspPlannerError: the folder holds records of another suite, of other models, or of other spaces, or it cannot
            be written.
    """
    path = make_folder(folder) / RUN_FILE
    if not path.exists():
        write_json(path, to_json(wanted))
        return
    found = read_run_file(folder)
    same = {
        "another suite": found.digest == wanted.digest,
        "other models": found.models == wanted.models,
        "other spaces of settings": found.spaces == to_json(wanted.spaces),
    }
    for difference, holds in same.items():
        if not holds:
            raise GraspPlannerError(
                f"{folder} holds records of {found.suite.name!r} with {difference} than this run: give "
                "another folder with --out"
            )
