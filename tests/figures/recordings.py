"""Recordings with made-up numbers, without planning."""

from __future__ import annotations

from typing import Any

import numpy as np

from grasp_planner.bench.running.planning_frames import Recording


def push_t_recording(lifted: bool = True, success: bool = True, planner: str = "GRASP", **changes: Any) -> Recording:
    """Return a recording of a block pushed from left to right. The virtual states reach the rollout in 9 moments."""
    start = np.array([100.0, 250, 200, 250, 0.3, 0, 0])
    goal = np.array([260.0, 250, 360, 250, 0.3, 0, 0])
    horizon, frameskip, moments = 4, 5, 9
    share = np.linspace(0, 1, horizon * frameskip + 1)[:, None]
    executed = start + share * (goal - start)
    imagined = executed[::frameskip]
    noise = np.random.default_rng(0).normal(0, 40, (moments, horizon, 7)) * [1, 1, 1, 1, 0.01, 0, 0]
    left = np.linspace(1, 0, moments)[:, None, None]
    values = {
        "env": "PushT-v1",
        "planner": planner,
        "frameskip": frameskip,
        "start": start,
        "goal": goal,
        "steps": np.arange(1, 2 * moments, 2),
        "rollouts": imagined[1:] + left * noise,
        "virtual": imagined[1:-1] + left * noise[:, :-1] if lifted else None,
        "best_cost": np.r_[10.0, 10.0, 3.0, np.full(2 * moments - 3, 0.5)],
        "imagined": imagined,
        "executed": executed,
        "distances": {"position_px": 3.4, "angle_deg": 1.2, "pusher_px": 1.0, "block_px": 3.2},
        "success": success,
    }
    return Recording(**(values | changes))
