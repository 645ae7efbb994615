"""Keep-out zones and limits on the push rate on BallNav: violations and success of several planners.

Each planner plans for the goal alone, with the penalty, and with the penalty and multipliers. The planner sees the
event at the model steps. The table also says whether the event holds at every environment step.

    python benchmarks/constrained_ball_nav.py --problems 8 --steps 153
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import torch
from torch import Tensor

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

MODEL, SINGLE = BallNav("wall", frameskip=2), BallNav("wall", frameskip=1)  # the same dynamics
HORIZON = 35  # model steps
UPDATE_EVERY = 51  # planner steps between two updates of the multipliers: a cycle of GRASP, and one more
PLANNERS: Mapping[str, Planner] = {
    "CEM": CEM(samples=64, elites=8),
    "GD": GD(lr=0.1),
    "GRASP": GRASP(),
    "recommended": recommended(),
}


def events(model: BallNav) -> dict[str, Event]:
    """Return the events: never in one of two round zones, and a limit on the change of the pushes.

    The first zone closes the way around the lower end of the wall. The second zone is between start and wall. Each push
    is compared with the push in the environment step before it.
    """
    end, front = (inside_ball(model.decode_state, centre, 1.0) for centre in ((5.0, 1.0), (3.8, 5.0)))
    return {
        "keep-out zones": always(~end & ~front),
        "push rate": always(action_rate(0.5, frameskip=model.frameskip)),
    }


def violations(model: BallNav, problem: Problem, found: Plan, title: str) -> Tensor:
    """Return by how much each plan (b,) violates an event at the steps of a model with the same dynamics."""
    actions = found.actions.unflatten(-1, (-1, 2 * model.frameskip)).flatten(1, 2)
    same = Problem.between(model, problem.start, problem.goal, actions.shape[1], model.low, model.high)
    path = torch.cat([problem.start[:, None], same.rollout(actions)], dim=1)
    return torch.relu(-events(model)[title].margin(path, actions))


def row(problem: Problem, found: Plan, title: str) -> str:
    """Return a row of the table."""
    amount = violations(MODEL, problem, found, title)
    executed = violations(SINGLE, problem, found, title)
    reached = (found.states[:, -1] - problem.goal).norm(dim=-1) < RADIUS
    counts = (amount > 0, executed > 0, reached, reached & (amount == 0), reached & (executed == 0))
    cells = [str(int(count.sum())) for count in counts]
    return " | ".join([*cells[:2], f"{float(executed.mean()):.3f}", *cells[2:]])


def main() -> None:
    """Plan with every planner, with and without the events, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=8, help="number of problems")
    parser.add_argument("--steps", type=int, default=153, help="planner steps")
    given = parser.parse_args()
    free = MODEL.problem(given.problems, HORIZON)
    budget = Budget(steps=given.steps)
    print("event | planner | objective | violated | violated, every environment step | mean violation, every ", end="")
    print("environment step | at the goal | without violation | without violation, every environment step")
    for title, event in events(MODEL).items():
        bound = free.under(Constrained(GoalDistance(), event, weight=10.0, clearance=0.05))
        for name, planner in PLANNERS.items():
            kinds = {
                "goal alone": (free, planner),
                "penalty": (bound, planner),
                "multipliers": (bound, AugmentedLagrangian(planner, update_every=UPDATE_EVERY)),
            }
            for kind, (problem, chosen) in kinds.items():
                found = plan(problem, chosen, budget, seeds=list(range(given.problems)))
                print(f"{title} | {name} | {kind} | {row(problem, found, title)}", flush=True)


if __name__ == "__main__":
    main()
