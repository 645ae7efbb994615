"""Keep-out zones and limits on the action rate on BallNav: violation and distance to the goal for several planners.

Each planner plans for the goal alone, with the penalty, and with the penalty and multipliers.

    python benchmarks/constrained_ball_nav.py --problems 8 --steps 100
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import torch

from grasp_planner import (
    CEM,
    GD,
    GRASP,
    AugmentedLagrangian,
    Budget,
    Constrained,
    Event,
    GoalDistance,
    Plan,
    Planner,
    Problem,
    action_rate,
    always,
    inside_ball,
    plan,
    recommended,
)
from grasp_planner.domains.ball_nav.physics import RADIUS
from grasp_planner.models.ball_nav import BallNav

HORIZON = 14  # model steps
PLANNERS: Mapping[str, Planner] = {
    "CEM": CEM(samples=64, elites=8),
    "GD": GD(lr=0.1),
    "GRASP": GRASP(),
    "recommended": recommended(),
}


def events(model: BallNav) -> dict[str, Event]:
    """Return the events: never in one of two round zones, and a limit on the change of the actions.

    The first zone closes the way around the lower end of the wall. The second zone is between start and wall.
    """
    end, front = (inside_ball(model.decode_state, centre, 1.0) for centre in ((5.0, 1.0), (3.8, 5.0)))
    return {"keep-out zones": always(~end & ~front), "action rate": always(action_rate(0.5))}


def row(name: str, kind: str, problem: Problem, found: Plan, event: Event) -> str:
    """Return a row of the table."""
    path = torch.cat([problem.start[:, None], found.states], dim=1)
    violation = torch.relu(-event.margin(path, found.actions))
    reached = (found.states[:, -1] - problem.goal).norm(dim=-1) < RADIUS
    return (
        f"{name} | {kind} | {int((violation > 0).sum())} | {float(violation.mean()):.3f} | {int(reached.sum())} | "
        f"{int(((violation == 0) & reached).sum())}"
    )


def main() -> None:
    """Plan with every planner, with and without the events, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=8, help="number of problems")
    parser.add_argument("--steps", type=int, default=100, help="planner steps")
    given = parser.parse_args()
    model = BallNav("wall")
    problem = model.problem(given.problems, HORIZON)
    budget = Budget(steps=given.steps)
    print("event | planner | objective | violated plans | mean violation | at the goal | at the goal without violation")
    for title, event in events(model).items():
        bound = problem.under(Constrained(GoalDistance(), event, weight=10.0, clearance=0.05))
        for name, planner in PLANNERS.items():
            kinds = {
                "goal alone": (problem, planner),
                "penalty": (bound, planner),
                "multipliers": (bound, AugmentedLagrangian(planner, update_every=51)),
            }
            for kind, (asked, chosen) in kinds.items():
                found = plan(asked, chosen, budget, seeds=list(range(given.problems)))
                print(f"{title} | {row(name, kind, asked, found, event)}", flush=True)


if __name__ == "__main__":
    main()
