"""The planners of the BallNav benchmark: the distribution of each planner's settings, and the ablations of GRASP."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grasp_planner import CEM, GD, GRASP, ICEM, MPPI, LatCo, MultiStart, RandomShooting
from grasp_planner.planning.protocol import Planner

TOLERANCE = 1e-3  # cost at which every planner stops a problem: 8 cm from the goal in the model
SWEEP = Path(__file__).with_name("ball_nav_sweep.jsonl")

Settings = dict[str, Any]


def _log(rng: random.Random, low: float, high: float) -> float:
    """Sample a number whose logarithm is uniform, rounded to three digits."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def _gd(rng: random.Random) -> Settings:
    optimiser = rng.choice(["adam", "adam", "sgd"])
    return {"optimiser": optimiser, "lr": _log(rng, 0.003, 1.0) if optimiser == "adam" else _log(rng, 0.03, 30.0)}


def _gd_noise(rng: random.Random) -> Settings:
    return _gd(rng) | {"action_noise": _log(rng, 0.003, 0.5)}


def _gd_starts(rng: random.Random) -> Settings:
    return _gd(rng) | {"starts": rng.choice([4, 8, 16]), "start_std": _log(rng, 0.1, 2.0)}


def _sampler(rng: random.Random) -> Settings:
    return {
        "samples": rng.choice([25, 50, 100, 200]),
        "std": _log(rng, 0.3, 2.0),
        "min_std": rng.choice([0.0, 0.05, 0.2]),
    }


def _cem(rng: random.Random) -> Settings:
    settings = _sampler(rng)
    elites = max(2, round(settings["samples"] * rng.choice([0.05, 0.1, 0.2])))
    return settings | {"elites": elites, "momentum": rng.choice([0.0, 0.1, 0.3])}


def _icem(rng: random.Random) -> Settings:
    return _cem(rng) | {"noise_beta": rng.choice([0.5, 1.0, 2.0, 3.0]), "decay": rng.choice([1.0, 1.1, 1.25])}


def _mppi(rng: random.Random) -> Settings:
    return _sampler(rng) | {"temperature": _log(rng, 0.005, 1.0), "refit_std": rng.random() < 0.5}


def _latco(rng: random.Random) -> Settings:
    return {
        "state_lr": _log(rng, 0.003, 0.5),
        "action_lr": _log(rng, 0.003, 0.5),
        "multiplier": _log(rng, 0.1, 10.0),
        "dual_rate": _log(rng, 0.1, 2.0),
        "dual_every": rng.choice([1, 5, 20]),
        "threshold": _log(rng, 1e-5, 1e-2),
        "initial_noise": rng.choice([0.0, 0.1, 0.5, 1.0]),
    }


def _grasp(rng: random.Random) -> Settings:
    return {
        "state_lr": _log(rng, 0.02, 1.0),
        "action_lr": _log(rng, 0.01, 0.5),
        "state_noise": _log(rng, 0.05, 4.0),
        "goal_weight": _log(rng, 0.03, 3.0),
        "sync_every": rng.choice([5, 10, 25, 50]),
        "sync_steps": rng.choice([5, 10, 25]),
        "sync_lr": _log(rng, 0.01, 0.3),
        "initial_noise": rng.choice([0.0, 0.5]),
        "noise_schedule": rng.choice(["constant", "linear"]),
        "goal_schedule": rng.choice(["constant", "linear"]),
        "reset_states": rng.random() < 0.5,
        "reset_moments": rng.random() < 0.5,
        "optimiser": rng.choice(["adam", "sgd"]),
        "starts": rng.choice([1, 1, 2, 4]),
    }


def _grasp_quiet(rng: random.Random) -> Settings:
    return _grasp(rng) | {"state_noise": 0.0, "initial_noise": 0.0}


def _grasp_unsynced(rng: random.Random) -> Settings:
    return {name: value for name, value in _grasp(rng).items() if name not in ("sync_steps", "sync_lr")}


def _make_grasp(settings: Settings) -> Planner:
    """Make GRASP from settings. Settings without a learning rate for the sync give no serial planner."""
    rest = {name: value for name, value in settings.items() if name != "sync_lr"}
    return _maker(GRASP)(rest | {"sync": GD(lr=settings["sync_lr"]) if "sync_lr" in settings else None})


def _maker(kind: type) -> Callable[[Settings], Planner]:
    """Return a function that makes a planner of a class from settings, in a `MultiStart` if ``"starts"`` > 1."""

    def make(settings: Settings) -> Planner:
        rest = {name: value for name, value in settings.items() if name not in ("starts", "start_std")}
        planner, starts = kind(tolerance=TOLERANCE, **rest), settings.get("starts", 1)
        return MultiStart(planner, starts, settings.get("start_std", 0.0)) if starts > 1 else planner

    return make


# Name of a planner -> a function that samples its settings, and a function that makes the planner from settings.
SPACES: dict[str, tuple[Callable[[random.Random], Settings], Callable[[Settings], Planner]]] = {
    "GD": (_gd, _maker(GD)),
    "GD, several starts": (_gd_starts, _maker(GD)),
    "GD, action noise": (_gd_noise, _maker(GD)),
    "CEM": (_cem, _maker(CEM)),
    "iCEM": (_icem, _maker(ICEM)),
    "MPPI": (_mppi, _maker(MPPI)),
    "LatCo": (_latco, _maker(LatCo)),
    "GRASP": (_grasp, _make_grasp),
    "GRASP without noise, tuned without": (_grasp_quiet, _make_grasp),
    "GRASP without sync, tuned without": (_grasp_unsynced, _make_grasp),
}


def chosen(sweep: Path = SWEEP) -> dict[str, Settings]:
    """Return the best settings of each name in a sweep: most successes and, in a tie, the lowest mean cost."""
    best: dict[str, dict[str, Any]] = {}
    for line in sweep.read_text().splitlines():
        trial = json.loads(line)
        known = best.get(trial["planner"])
        if known is None or (-trial["success"], trial["cost"]) < (-known["success"], known["cost"]):
            best[trial["planner"]] = trial
    return {name: trial["settings"] for name, trial in best.items()}


def rows(settings: dict[str, Settings]) -> dict[str, Planner]:
    """Return the rows of the table: every planner with its tuned settings, and ablations of GRASP."""
    made = {name: make(settings[name]) for name, (_, make) in SPACES.items() if name in settings}
    planners: dict[str, Planner] = {"Random shooting": RandomShooting(samples=50, tolerance=TOLERANCE)}
    planners |= {name: planner for name, planner in made.items() if not name.startswith("GRASP ")}
    grasp = settings["GRASP"]
    unsynced = {name: value for name, value in grasp.items() if name != "sync_lr"}
    planners |= {
        "GRASP without noise": _make_grasp(grasp | {"state_noise": 0.0, "initial_noise": 0.0}),
        "GRASP without sync": _make_grasp(unsynced),
        "GRASP without goal term": _make_grasp(grasp | {"goal_weight": 0.0}),
        "GRASP with state gradients": _make_grasp(grasp | {"stop_gradient": False}),
    }
    planners |= {name: planner for name, planner in made.items() if name.startswith("GRASP ")}
    return planners
