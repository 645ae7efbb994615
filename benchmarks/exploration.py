"""Take the recommended planner apart: what each part is worth, on Push-T and on BallNav.

    python benchmarks/exploration.py --episodes 100
    python benchmarks/exploration.py --episodes 100 --horizons --maps cup hook slalom --problems 64

Every row has the same budget in transitions: 1000 rollouts for each plan of Push-T, 3000 for each plan of BallNav. The
episodes of Push-T are validation episodes, planned in ``pusht-state``; success is measured in the simulator after the
last step. The problems of BallNav are those of another seed than in `ball_nav_table.py`, and the model is exact. Each
cell is success in percent, and the processor time for each plan in seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import torch
from ball_nav_sweep import REACH
from lifted_gauss_newton import LiftedGaussNewton

from grasp_planner import (
    GD,
    GRASP,
    Budget,
    GaussNewton,
    LatCo,
    MultiStart,
    Planner,
    load_world_model,
    plan,
    recommended,
)
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.domains.ball_nav.physics import MAPS, RADIUS
from grasp_planner.models.ball_nav import BallNav
from grasp_planner.planners.presets import preset

ROLLOUTS, BALL_NAV_ROLLOUTS = 1000, 3000
BALL_NAV_STEPS, BALL_NAV_SEED = 120, 1000


def rows() -> dict[str, Planner]:
    """Return the recommended planner, and what is left of it without each of its parts."""
    whole = recommended()
    assert isinstance(whole, MultiStart) and isinstance(whole.planner, GaussNewton)

    def outer(**parts: object) -> Planner:
        return dataclasses.replace(whole, **parts)

    def inner(**parts: object) -> Planner:
        return dataclasses.replace(whole, planner=dataclasses.replace(whole.planner, **parts))

    second_order = preset("grasp/second-order")
    assert isinstance(second_order, MultiStart) and isinstance(second_order.planner, GRASP)

    def lifted(restart_every: int = 24, **parts: object) -> Planner:
        planner = dataclasses.replace(second_order.planner, **parts)
        return dataclasses.replace(second_order, planner=planner, restart_every=restart_every)

    return {
        "recommended": whole,
        "no restarts": outer(restart_every=None),
        "no selection": outer(survivors=1.0),
        "no kicks": outer(kick_std=0.0),
        "white starts and kicks": outer(noise_beta=0.0),
        "kicks do not grow": outer(kick_growth=1.0),
        "kicks of 1.0": outer(kick_std=1.0),
        "restarts every 8 steps": outer(restart_every=8),
        "16 starts, no race": outer(starts=16, race_starts=None),
        "8 starts, no race": outer(race_starts=None),
        "race of 16 starts for 7 steps": outer(race_starts=16, race_steps=7),
        "race of 32 starts": outer(race_starts=32),
        "4 starts after the race": outer(starts=4),
        "1 rollout per linearisation": outer(planner=dataclasses.replace(whole.planner, rollouts=1), restart_every=5),
        "3 products instead of the exact Jacobian": inner(products=3),
        "GD instead of GaussNewton": outer(planner=GD(lr=0.2)),
        "GRASP's lifted phase instead of kicks": second_order,
        "the same with 5 lifted steps": lifted(19, sync_every=5),
        "the same with white noise": lifted(noise_beta=0.0),
        "the same with state noise 1.0": lifted(state_noise=1.0),
        "the same with Gauss-Newton steps of the actions": outer(
            planner=LiftedGaussNewton(), restart_every=16, kick_std=0.0
        ),
        "GD, 16 starts": MultiStart(GD(lr=0.2), starts=16, start_std=2.3),
        "LatCo": LatCo(state_lr=0.02, action_lr=0.451, multiplier=0.178, dual_rate=0.177, dual_every=20),
    }


def push_t(planner: Planner, horizon: int, count: int) -> str:
    """Plan and execute validation episodes of Push-T."""
    model, at = load_world_model("pusht-state"), task("push_t/dset/v2", horizon)
    chosen = episodes(at, "validation", count)
    began = time.process_time()
    success = []
    for first in range(0, count, 50):
        part = chosen[first : first + 50]
        found = evaluate(at, model, planner, Budget(transitions=ROLLOUTS * horizon // model.frameskip), part)
        success += found.success.tolist()
    return f"{100 * sum(success) / count:.0f}; {(time.process_time() - began) / count:.2f}"


def ball_nav(planner: Planner, map: str, count: int) -> str:
    """Plan problems of BallNav in the exact model."""
    model = BallNav(map, pace=REACH / BALL_NAV_STEPS)
    horizon = BALL_NAV_STEPS // model.frameskip
    problem = model.problem(count, horizon, seed=BALL_NAV_SEED)
    began = time.process_time()
    found = plan(problem, planner, Budget(transitions=BALL_NAV_ROLLOUTS * horizon), seeds=list(range(count)))
    there = found.cost < (RADIUS / float(model.scale[0])) ** 2
    return f"{100 * float(there.float().mean()):.0f}; {(time.process_time() - began) / count:.2f}"


def main() -> None:
    """Print one row for each planner, and one column for each horizon and map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100, help="validation episodes of Push-T")
    parser.add_argument("--horizons", nargs="*", type=int, default=[60, 80], help="of Push-T, in environment steps")
    parser.add_argument("--problems", type=int, default=64, help="problems of BallNav")
    parser.add_argument("--maps", nargs="*", default=[], choices=list(MAPS), help="of BallNav, 120 environment steps")
    parser.add_argument("--only", nargs="*", help="names of rows")
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = [*(f"H = {horizon}" for horizon in given.horizons), *given.maps]
    print("| planner | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns), flush=True)
    for name, planner in rows().items():
        if not given.only or name in given.only:
            cells = [push_t(planner, horizon, given.episodes) for horizon in given.horizons]
            cells += [ball_nav(planner, map, given.problems) for map in given.maps]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
