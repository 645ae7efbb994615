"""Make the BallNav table: every planner with the same budget of model transitions, executed in the simulator.

    python benchmarks/ball_nav_table.py --fast                           # the cup, three horizons
    python benchmarks/ball_nav_table.py --fast --maps hook slalom --horizons 90

`ball_nav_sweep.py` chose the settings, one set for each planner, on other problems of the cup at 90 environment steps.
At a longer horizon the path is the same and the pace is slower. The script writes a JSON line for each planner, map and
horizon, and makes the table from these lines. An interrupted run continues after its last line.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from ball_nav_fast import FastBallNav
from ball_nav_planners import SWEEP, chosen, rows
from ball_nav_sweep import REACH

import grasp_planner
from grasp_planner import Budget, Plan, Problem, plan
from grasp_planner.bench.analysing.significance import Share
from grasp_planner.domains.ball_nav.environment import BallNav as Environment
from grasp_planner.domains.ball_nav.physics import MAPS, RADIUS
from grasp_planner.models.ball_nav import BallNav
from grasp_planner.planning.protocol import Planner

TEST_SEED = 0
RECORDS = Path(__file__).with_name("ball_nav_table.jsonl")


def executed(problem: Problem, found: Plan, model: BallNav) -> np.ndarray:
    """Return whether each ball (b,) is at the goal after the last push, in the simulator."""
    env = Environment(map=model.map, pace=model.pace)
    reached = []
    for start, goal, blocks in zip(problem.start.numpy(), problem.goal.numpy(), found.actions.numpy(), strict=True):
        _, info = env.reset(options={"state": start, "goal": goal})
        for push in blocks.reshape(-1, 2):
            info = env.step(push)[-1]
        reached.append(info["success"])
    return np.array(reached)


def measured(model: BallNav, planner: Planner, steps: int, problems: int, rollouts: int, fast: bool) -> dict[str, Any]:
    """Plan and execute. Return totals, and for each measured quantity a list with one entry per problem."""
    horizon = steps // model.frameskip
    problem = model.problem(problems, horizon, seed=TEST_SEED)
    through = problem.through(FastBallNav(model)) if fast else problem
    found = plan(through, planner, Budget(transitions=rollouts * horizon), seeds=list(range(problems)))
    # The cost is the squared distance in units of the scale, so a plan reaches the goal in the model below this cost.
    # If only the last scoring finds such a plan, it counts as found after all transitions.
    enough = (RADIUS / float(model.scale[0])) ** 2
    there, solved = found.trace.cost.numpy() < enough, found.cost.numpy() < enough
    spent = [*found.trace.transitions, found.transitions]
    first = np.where(there.any(0), there.argmax(0), -1)
    return {
        "seconds": round(found.seconds, 2),
        "rollouts": round(found.transitions / horizon, 1),
        "success": [int(reached) for reached in executed(problem, found, model)],
        "success_in_model": [int(reached) for reached in solved],
        "distance_m": [round(float(cost) ** 0.5 * float(model.scale[0]), 3) for cost in found.cost],
        "rollouts_to_success": [round(spent[k] / horizon, 1) if yes else None for k, yes in zip(first, solved)],
    }


def cell(run: dict[str, Any]) -> str:
    """Format success in percent, its 95 % interval, the median of rollouts to success, and seconds if uncompiled."""
    share = Share(sum(run["success"]), len(run["success"]))
    text = f"**{100 * share.value:.0f}** ({100 * share.low:.0f}-{100 * share.high:.0f})"
    took = [rollouts for rollouts in run["rollouts_to_success"] if rollouts is not None]
    text += f"; {median(took):.0f}" if took else ""
    return text if run["dynamics"] == "compiled" else f"{text}; {run['seconds']:.0f} s"


def markdown(runs: list[dict[str, Any]], columns: list[tuple[str, int]]) -> str:
    """Return a Markdown table with a row for each planner and a column for each map and horizon."""
    cells = {(run["planner"], run["map"], run["steps"]): cell(run) for run in runs}
    head = [f"{map}, H = {steps}" for map, steps in columns]
    lines = ["| planner | " + " | ".join(head) + " |", "|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(run["planner"] for run in runs):
        lines.append(f"| {name} | " + " | ".join(cells.get((name, *column), "") for column in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", nargs="*", default=["cup"], choices=list(MAPS))
    parser.add_argument("--horizons", nargs="*", type=int, default=[60, 90, 120], help="environment steps")
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--rollouts", type=int, default=600, help="budget: model transitions per horizon step")
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--fast", action="store_true", help="compiled dynamics, see ball_nav_fast.py; needs cc")
    parser.add_argument("--sweep", type=Path, default=SWEEP)
    parser.add_argument("--out", type=Path, default=RECORDS)
    given = parser.parse_args()

    torch.set_num_threads(1)
    known = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    planners = {
        name: planner for name, planner in rows(chosen(given.sweep)).items() if not given.only or name in given.only
    }
    dynamics = "compiled" if given.fast else "package"
    asked = {"dynamics": dynamics, "rollouts_allowed": given.rollouts, "problems": given.problems, "seed": TEST_SEED}
    columns = [(map, steps) for map in given.maps for steps in given.horizons]
    for map, steps in columns:
        model = BallNav(map, pace=REACH / steps)
        for name, planner in planners.items():
            head = {"schema": 1, "map": map, "steps": steps, "planner": name, **asked, "settings": repr(planner)}
            if any(head.items() <= run.items() for run in known):
                continue
            head |= {"version": grasp_planner.__version__, "torch": torch.__version__, "machine": platform.machine()}
            run = head | measured(model, planner, steps, given.problems, given.rollouts, given.fast)
            with given.out.open("a") as file:
                file.write(json.dumps(run) + "\n")
            known.append(run)
            rate = sum(run["success"]) / len(run["success"])
            print(f"{map:7s} {steps:4d}  {rate:5.2f}  {run['seconds']:7.1f} s  {name}", flush=True)
    print(markdown([run for run in known if asked.items() <= run.items()], columns))


if __name__ == "__main__":
    main()
