"""Records of a small suite with made-up numbers, without planning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grasp_planner.bench.records import ChoiceRecord, Clock, EpisodeRecord, PlannedMoments, Record, ShownRecord, Winner
from grasp_planner.bench.timed_records import Moment, TimedClock, TimedRecord
from grasp_planner.bench.work import Work
from grasp_planner.figures.report_page import Section

CLOCK = Clock(seconds=1.0, batch=8, machine="x86_64", at=1_700_000_000)
VERSIONS = {"python": "3.11", "torch": "2"}
WINS = {"GD": 3, "CEM": 1, "GRASP": 6}


def work(arm: str, horizon: int = 50, split: str = "test") -> Work:
    planner = {"name": arm.lower(), "lr": 0.1}
    return Work(
        suite="made-up",
        task="push_t/dset/v1",
        horizon=horizon,
        model="pusht-state",
        model_hash="0" * 16,
        arm=arm,
        mode="open-loop",
        split=split,
        rollouts=100,
        planner=planner,
    )


def episode_records(count: int = 8) -> list[EpisodeRecord]:
    """Return records in which GRASP solves the first 6 of 8 episodes at both horizons, GD 3, and CEM 1."""
    return [
        EpisodeRecord(
            work=work(arm, horizon),
            episode=i,
            seed=i,
            success=i < wins,
            reached=i < wins + 1,
            success_step=horizon if i < wins + 1 else None,
            start_distances={"position_px": 80.0, "angle_deg": 20.0},
            distances={"position_px": 5.0 if i < wins else 60.0, "angle_deg": 2.0},
            cost=0.5,
            status="BUDGET",
            steps=5,
            transitions=2400,
            calls=10,
            versions=VERSIONS,
            clock=CLOCK,
            success_model=i < 7,
            gap_virtual_rollout=0.5 if arm == "GRASP" else None,
            gap_rollout_simulator=0.1,
        )
        for horizon in (40, 50)
        for arm, wins in WINS.items()
        for i in range(count)
    ]


def timed_records(count: int = 4) -> list[TimedRecord]:
    """Return records in which plans of solved episodes succeed after 1 s, and plans of GRASP after 0.25 s."""
    made = []
    for arm, wins in WINS.items():
        pace = 0.25 if arm == "GRASP" else 1.0
        for i in range(count):
            won = i < wins
            moments = tuple(
                Moment(seconds=at * pace, transitions=round(100 * at), step=k, cost=1 / (k + 1), success=success)
                for k, (at, success) in enumerate(((0.1, False), (1.0, won), (3.0, won)))
            )
            clock = TimedClock(
                seconds=3.0 * pace,
                batch=1,
                machine="x86_64",
                at=1_700_000_000,
                seconds_to_success=pace if won else None,
                moments=moments,
                success=won,
                reached=won,
            )
            made.append(TimedRecord(work(arm), i, 5.0, VERSIONS, clock))
    return made


def shown_records() -> list[ShownRecord]:
    """Return records of a block pushed to the right, by GRASP with virtual states and by CEM and GD without.

    GRASP solves the episode. The plan of CEM reaches the goal in the model and goes half of the way in the simulator.
    The plan of GD goes half of the way in both.
    """
    start = np.array([100.0, 250, 200, 250, 0.3, 0, 0])
    goal = np.array([260.0, 250, 360, 250, 0.3, 0, 0])
    share = np.linspace(0, 1, 21)[:, None]
    whole, half = ((start + far * share * (goal - start)).tolist() for far in (1.0, 0.5))
    made = []
    for arm, executed, imagined in (("CEM", half, whole), ("GD", half, half), ("GRASP", whole, whole)):
        rollout = imagined[5::5]
        missed = float(np.linalg.norm(np.array(executed[-1][:4]) - goal[:4]))
        made.append(
            ShownRecord(
                work=work(arm),
                episode=2,
                success=arm == "GRASP",
                distances={"position_px": missed, "angle_deg": 0.0},
                env="PushT-v1",
                frameskip=5,
                executed=executed,
                goal=goal.tolist(),
                recording=PlannedMoments(
                    steps=(0, 5, 10),
                    rollouts=[rollout] * 3,
                    virtual=[rollout[:-1]] * 3 if arm == "GRASP" else None,
                    best_cost=(None, 2.0, 0.5),
                ),
            )
        )
    return made


def choice_records() -> list[ChoiceRecord]:
    """Return records of chosen settings."""
    winner = Winner("gd", trial=2, trials=(8, 2), episodes=(4, 8), together=False, success=0.5, cost=0.25)
    return [ChoiceRecord(work(arm, split="validation"), arm, replace(winner, space=arm.lower())) for arm in WINS]


def all_records() -> list[Record]:
    return [*episode_records(), *timed_records(), *shown_records(), *choice_records()]


def in_model(record: Record, model: str) -> Record:
    """Return the same record of another model."""
    return replace(record, work=replace(record.work, model=model))


def renamed(records: Sequence[Record], name: str, new: str) -> list[Record]:
    """Return the same records with another name of one planner."""
    return [replace(one, work=replace(one.work, arm=new)) if one.work.arm == name else one for one in records]


def section(records: Sequence[Record] | None = None) -> Section:
    """Return a section of a report, by default with all records."""
    given = all_records() if records is None else records
    return Section("made-up", "A <made-up> suite", "For tests", "push-t-long", given)
