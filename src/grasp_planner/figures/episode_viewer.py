"""The data of the report's viewer of recorded episodes: small enough for a page with many recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grasp_planner.bench.analysing.cells import arms_of, environment_of
from grasp_planner.bench.analysing.failures import JudgedDistance, explanation, judged_distances, outcome_of
from grasp_planner.bench.records import PlannedMoments, Record, ShownRecord, of_kind
from grasp_planner.bench.suites.suite import main_arm
from grasp_planner.bench.work import CellName
from grasp_planner.domains.registry import SCENES
from grasp_planner.domains.scenes import Scene, zoomed
from grasp_planner.figures.panels import few
from grasp_planner.io.typed_json import to_json

MOST_EXECUTED, MOST_PLANNED = 101, 33  # states of an execution and of a rollout in the page, at most
SHARPNESS = 2000  # different positions in the width of the world after rounding, at least
ANGLE_DECIMALS = 3  # rad


def viewer_content(records: Sequence[Record]) -> dict[str, Any] | None:
    """Return the data of the viewer's script as JSON values: scenes, and the plans of each recorded episode.

    States hold only the columns that the scene draws, and are rounded to what a picture can show. Return ``None`` if
    there is no recorded episode of an environment with a scene.
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


def thinned(count: int, most: int) -> list[int]:
    """Return the indices of at most ``most`` of ``count`` states: the first, the last, and others in between.

    >>> thinned(3, 5), thinned(1001, 5)
    ([0, 1, 2], [0, 250, 500, 750, 1000])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _group(cell: CellName, episode: int, plans: Sequence[ShownRecord]) -> dict[str, Any]:
    task, horizon, model = cell
    first = plans[0]
    whole = SCENES[first.env]
    seen = np.concatenate([_states_in_view(plan) for plan in plans])
    return {
        "title": f"{environment_of(task)}, H = {horizon}, {model}, episode {episode}",
        "env": first.env,
        "goal": _drawn(whole, first.goal),
        "view": [round(edge, 3) for edge in zoomed(whole, seen).view],
        "plans": [_plan(whole, plan) for plan in plans],
    }


def _states_in_view(plan: ShownRecord) -> np.ndarray:
    """Return the executed states, the goal, and the rollout of the executed plan in the model: (n, s)."""
    rollout = [] if plan.recording is None else plan.recording.rollouts[-1]
    return np.array([*plan.executed, plan.goal, *rollout])


def _plan(scene: Scene, plan: ShownRecord) -> dict[str, Any]:
    steps = thinned(len(plan.executed), MOST_EXECUTED)
    return {
        "arm": plan.work.arm,
        "success": plan.success,
        "reason": outcome_of(plan),
        "told": explanation(plan),
        "distances": [_judged(one) for one in judged_distances(plan)],
        "steps": steps,
        "executed": _drawn(scene, [plan.executed[i] for i in steps]),
        "recording": None if plan.recording is None else _recording(scene, plan.recording, plan.frameskip),
    }


def _judged(distance: JudgedDistance) -> dict[str, Any]:
    """Return a row of the table of distances: texts, and whether the simulator and the model miss the limit."""
    known = distance.model is not None
    return {
        "quantity": distance.quantity,
        "limit": distance.text(distance.limit),
        "simulator": distance.text(distance.simulator),
        "model": distance.text(distance.model) if known else "not known",
        "missed": [distance.missed(distance.simulator), known and distance.missed(distance.model)],
    }


def _recording(scene: Scene, moments: PlannedMoments, frameskip: int) -> dict[str, Any]:
    rollouts = np.array(moments.rollouts)
    kept = thinned(rollouts.shape[1], MOST_PLANNED)
    states = rollouts
    if moments.virtual is not None:  # a horizon of one model step has no virtual state
        states = np.array(moments.virtual).reshape(len(rollouts), rollouts.shape[1] - 1, rollouts.shape[2])
    return {
        "steps": moments.steps,
        "best_cost": to_json(moments.best_cost, digits=3),
        "lifted": moments.virtual is not None,
        "at": [frameskip * (i + 1) for i in kept],
        "rollouts": _drawn(scene, rollouts[:, kept]),
        "states": _drawn(scene, states[:, few(states.shape[1])]),
    }


def _columns(scene: Scene) -> list[int]:
    """Return the columns of the state that the scene draws."""
    used = {column for body in scene.bodies for column in (*body.position, body.angle) if column is not None}
    return sorted(used)


def _drawn(scene: Scene, states: Any) -> list[Any]:
    """Return the drawn columns of states (..., s), rounded."""
    columns = _columns(scene)
    angles = {body.angle for body in scene.bodies}
    width = abs(scene.view[1] - scene.view[0])
    places = max(0, int(np.ceil(np.log10(SHARPNESS / width))))
    kept = np.asarray(states, dtype=float)[..., columns]
    rounded = [np.round(kept[..., i], ANGLE_DECIMALS if at in angles else places) for i, at in enumerate(columns)]
    return np.stack(rounded, axis=-1).tolist()


def _scene(scene: Scene) -> dict[str, Any]:
    columns = _columns(scene)
    bodies = [
        {
            "outline": np.round(body.outline, 3).tolist(),
            "position": [columns.index(at) for at in body.position],
            "angle": None if body.angle is None else columns.index(body.angle),
        }
        for body in scene.bodies
    ]
    return {"walls": scene.walls, "bodies": bodies}
