"""Records with made-up numbers, one record of each kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grasp_planner.bench.records import (
    ChoiceRecord,
    Clock,
    EpisodeRecord,
    PlannedMoments,
    Record,
    ShownRecord,
    SweepRecord,
    Winner,
)
from grasp_planner.bench.timed_records import Moment, TimedClock, TimedRecord, TimedSweepRecord, TrialClock
from grasp_planner.bench.work import Work

WORK = Work("s", "wall", 10, "m", "0" * 16, "GD", "open-loop", "test", 12, {"name": "gd", "lr": 0.1})
CLOCK = Clock(1.0, 8, "x86_64", 1_700_000_000)
VERSIONS = {"python": "3.11", "torch": "2"}


def record(number: int, **changes: Any) -> EpisodeRecord:
    """Return the record of a test episode that was solved."""
    made = EpisodeRecord(
        work=WORK,
        episode=number,
        seed=3,
        success=True,
        reached=True,
        success_step=7,
        start_distances={"position_px": 30.0},
        distances={"position_px": 1.5},
        cost=0.25,
        status="BUDGET",
        steps=10,
        transitions=24,
        calls=20,
        versions=VERSIONS,
        clock=CLOCK,
    )
    return replace(made, **changes)


def all_kinds() -> list[Record]:
    """Return one record of each kind, and an episode with all its optional fields."""
    moments = (Moment(0.1, 2, 1, None, False), Moment(0.2, 4, 2, 0.5, True))
    plan = PlannedMoments((1, 2), [[[0.0, 1.0]], [[0.5, 1.0]]], None, (None, 0.5))
    return [
        SweepRecord(WORK, 1, 2, (0, 1), (True, False), (None, 0.5), 24, CLOCK),
        ChoiceRecord(WORK, "GD", Winner("gd", 2, (3, 2), (2, 3), True, 2 / 4, None)),
        ChoiceRecord(replace(WORK, horizon=20), "GD"),
        ChoiceRecord(replace(WORK, horizon=30), "GD", Winner("gd", 2, (3, 2), (2, 3), False, 0.5, None, 1.25)),
        TimedSweepRecord(WORK, 0, 1, (0, 1), 5.0, TrialClock(6.0, 1, "x86_64", 3, (0.5, None), (0.1, None), 0.125)),
        record(0),
        record(1, success_model=False, distances_model={"position_px": None}, gap_rollout_simulator=0.5, plans=3),
        TimedRecord(WORK, 0, 5.0, VERSIONS, TimedClock(1.0, 1, "x86_64", 3, 0.2, moments, True, True)),
        TimedRecord(WORK, 0, 10.0, VERSIONS, TimedClock(1.0, 2, "x86_64", 3, None, moments, False, True, 0.5)),
        ShownRecord(WORK, 0, True, {"position_px": 1.5}, "PushT-v1", 5, [[0.0, 1.0]], [0.5, 1.0], plan),
        ShownRecord(WORK, 1, True, {"position_px": 1.5}, "PushT-v1", 5, [[0.0, 1.0]], [0.5, 1.0], None),
    ]
