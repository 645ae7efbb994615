"""The data of the report's viewer of recorded episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grasp_planner.bench.analysing.cells import arms_of, environment_of
from grasp_planner.bench.records import Record, ShownRecord, of_kind
from grasp_planner.bench.suites.suite import main_arm
from grasp_planner.bench.work import CellName
from grasp_planner.domains.registry import SCENES
from grasp_planner.domains.scenes import Scene, zoomed
from grasp_planner.io.typed_json import to_json


def viewer_content(records: Sequence[Record]) -> dict[str, Any] | None:
    """Return the data of the viewer's script as JSON values: scenes, and the plans of each recorded episode.

    Return ``None`` if there is no recorded episode of an environment with a scene.
    """
    shown = [record for record in of_kind(records, ShownRecord) if record.env in SCENES]
    if not shown:
        return None
    groups: dict[tuple[CellName, int], list[ShownRecord]] = {}
    for record in shown:
        groups.setdefault((record.work.cell, record.episode), []).append(record)
    return {
        "main": main_arm(sorted(arms_of(shown))),
        "scenes": {env: _scene(SCENES[env]) for env in sorted({record.env for record in shown})},
        "groups": [_group(*place, plans) for place, plans in sorted(groups.items(), key=lambda item: item[0])],
    }


def _group(cell: CellName, episode: int, plans: Sequence[ShownRecord]) -> dict[str, Any]:
    task, horizon, model = cell
    first = plans[0]
    seen = np.concatenate([np.array([*plan.executed, plan.goal]) for plan in plans])
    return {
        "title": f"{environment_of(task)}, H = {horizon}, {model}, episode {episode}",
        "env": first.env,
        "goal": first.goal,
        "view": zoomed(SCENES[first.env], seen).view,
        "plans": [
            {
                "arm": plan.work.arm,
                "success": plan.success,
                "told": _distances_text(plan.distances),
                "executed": plan.executed,
                "recording": to_json(plan.recording),
            }
            for plan in plans
        ],
    }


def _distances_text(distances: Mapping[str, float | None]) -> str:
    named = {name: value for name, value in distances.items() if name.startswith(("position", "angle"))}
    return ", ".join(
        f"{value:.3g} {name.partition('_')[2] or name} off" for name, value in named.items() if value is not None
    )


def _scene(scene: Scene) -> dict[str, Any]:
    bodies = [
        {"outline": np.round(body.outline, 3).tolist(), "position": body.position, "angle": body.angle}
        for body in scene.bodies
    ]
    return {"walls": scene.walls, "bodies": bodies}
