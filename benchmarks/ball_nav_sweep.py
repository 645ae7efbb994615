"""Tune planners on BallNav: the same number of random trials for every planner, on validation problems.

    python benchmarks/ball_nav_sweep.py --trials 40

The problems have other seeds than the problems of the table (`ball_nav_table.py`). Each trial is a line of the output
file. If the file exists, the sweep continues after its last trial. The dynamics are compiled (`ball_nav_fast.py`),
which changes numbers only by rounding.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from ball_nav_fast import FastBallNav
from ball_nav_planners import SPACES, SWEEP

from grasp_planner import Budget, plan
from grasp_planner.domains.ball_nav.task import success
from grasp_planner.models.ball_nav import BallNav

REACH = 16.8  # m that full pushes along an axis cover in the whole horizon, for every number of steps
VALIDATION_SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="per planner")
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--map", default="cup")
    parser.add_argument("--horizon", type=int, default=90, help="environment steps")
    parser.add_argument(
        "--rollouts", type=int, default=600, help="budget, in model transitions per step of the horizon"
    )
    parser.add_argument("--only", nargs="*", default=list(SPACES), help="names of planners")
    parser.add_argument("--out", type=Path, default=SWEEP)
    given = parser.parse_args()

    torch.set_num_threads(1)
    model = BallNav(given.map, pace=REACH / given.horizon)
    horizon = given.horizon // model.frameskip
    problem = model.problem(given.problems, horizon, seed=VALIDATION_SEED).through(FastBallNav(model))
    budget = Budget(transitions=given.rollouts * horizon)
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    done = {(trial["planner"], trial["trial"]) for trial in map(json.loads, lines)}
    for trial in range(given.trials):
        for name in given.only:
            if (name, trial) in done:
                continue
            draw, make = SPACES[name]
            settings = draw(random.Random(f"{name}/{trial}"))
            began = time.perf_counter()
            found = plan(problem, make(settings), budget, seeds=list(range(given.problems)))
            reached = success(found.states[:, -1].numpy(), problem.goal.numpy())
            row = {
                "planner": name,
                "trial": trial,
                "success": round(float(reached.mean()), 4),
                "cost": round(float(found.cost.mean()), 5),
                "seconds": round(time.perf_counter() - began, 2),
                "settings": settings,
            }
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{trial:3d}  {row['success']:.2f}  {row['cost']:8.4f}  {row['seconds']:6.1f} s  {name}", flush=True)


if __name__ == "__main__":
    main()
