"""Records made of numbers, without planning: what a small suite would leave."""

from __future__ import annotations

from typing import Any

import numpy as np

Record = dict[str, Any]
PLACE = {"task": "push_t/dset/v1", "model": "pusht-state", "schema": 1, "suite": "made-up"}
WINS = {"GD": 3, "CEM": 1, "GRASP": 6}


def episode_records(count: int = 8) -> list[Record]:
    """GRASP solves the first 6 of 8 episodes at both horizons, GD the first 3, CEM the first."""
    made = []
    for horizon in (40, 50):
        for arm, wins in WINS.items():
            for i in range(count):
                distance = 5.0 if i < wins else 60.0
                made.append(
                    PLACE
                    | {"kind": "episode", "horizon": horizon, "arm": arm, "episode": i, "mode": "open-loop"}
                    | {"success": i < wins, "reached": i < wins + 1, "success_model": i < 7, "calls": 10}
                    | {"distances": {"position_px": distance, "angle_deg": 2.0}, "transitions": 2400}
                    | {"gap_virtual_rollout": 0.5 if arm == "GRASP" else None, "gap_rollout_simulator": 0.1}
                    | {"versions": {"python": "3.11", "torch": "2"}, "clock": {"seconds": 1.0, "batch": 8}}
                )
    return made


def timed_records(count: int = 4) -> list[Record]:
    """The plan in hand succeeds from 1 s on in the episodes that are solved; GRASP's is there at a quarter of that."""
    made = []
    for arm, wins in WINS.items():
        for i in range(count):
            pace = 0.25 if arm == "GRASP" else 1.0
            moments = [
                {"seconds": at * pace, "transitions": round(100 * at), "step": k, "cost": 1 / (k + 1), "success": won}
                for k, (at, won) in enumerate(((0.1, False), (1.0, i < wins), (3.0, i < wins)))
            ]
            first = pace if i < wins else None
            clock = {"seconds": 3.0 * pace, "batch": 1, "seconds_to_success": first, "moments": moments}
            made.append(
                PLACE
                | {"kind": "timed", "horizon": 50, "arm": arm, "episode": i, "mode": "open-loop", "seconds_limit": 5.0}
                | {"clock": clock}
            )
    return made


def shown_records() -> list[Record]:
    """A block that is pushed to the right, by GRASP with virtual states and by CEM without."""
    start = np.array([100.0, 250, 200, 250, 0.3, 0, 0])
    goal = np.array([260.0, 250, 360, 250, 0.3, 0, 0])
    share = np.linspace(0, 1, 21)[:, None]
    executed = (start + share * (goal - start)).tolist()
    rollout = executed[5::5]
    made = []
    for arm in ("CEM", "GRASP"):
        recording = {"steps": [0, 5, 10], "rollouts": [rollout] * 3, "best_cost": [None, 2.0, 0.5]}
        recording["virtual"] = [rollout[:-1]] * 3 if arm == "GRASP" else None
        made.append(
            PLACE
            | {"kind": "shown", "horizon": 50, "arm": arm, "episode": 2, "mode": "open-loop", "env": "PushT-v1"}
            | {"executed": executed, "goal": goal.tolist(), "frameskip": 5, "recording": recording}
            | {"success": arm == "GRASP", "distances": {"position_px": 3.0, "angle_deg": 1.0}}
        )
    return made


def choice_records() -> list[Record]:
    """What was chosen, and from how many."""
    return [
        PLACE
        | {"kind": "choice", "horizon": 50, "arm": arm, "tuned_as": arm, "trial": 2, "trials": [8, 2]}
        | {"episodes": [4, 8], "success": 0.5, "planner": {"name": arm.lower(), "rate": 0.1}}
        for arm in WINS
    ]


def all_records() -> list[Record]:
    return episode_records() + timed_records() + shown_records() + choice_records()
