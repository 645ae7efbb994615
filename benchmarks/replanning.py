"""Compare replanning after every model step with replanning after five model steps, with and without a stage cost.

    python benchmarks/replanning.py [--episodes 50]

The script prints a table of the share of validation episodes that succeed at the end. Goals are 25 environment steps
away, and an episode lasts 50 environment steps.
"""

from __future__ import annotations

import argparse

import torch

from grasp_planner import CEM, GD, GRASP, Budget, GoalDistance, MultiStart, load_world_model, recommended
from grasp_planner.bench.running.closed_loop import drive
from grasp_planner.bench.tasks import episodes, task

PLANNERS = {
    "recommended": recommended(),
    "GD": MultiStart(GD(lr=0.2), starts=8),
    "CEM": CEM(samples=64, elites=8),
    "GRASP": MultiStart(GRASP(sync=GD(lr=0.2), sync_every=10, sync_steps=10), starts=8),
}
MODELS = {"wall-state": "wall/dset/v1", "pusht-state": "push_t/dset/v1"}
BUDGET = Budget(transitions=5 * 240)


def main() -> None:
    """Print one row per model, planner and weight of the stage cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=50, help="number of episodes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | planner | stage_weight | replanned every step | every 5 steps |\n|---|---|---:|---:|---:|")
    for name, task_name in MODELS.items():
        model, asked = load_world_model(name), task(task_name, 25)
        chosen = episodes(asked, "validation", given.episodes)
        for title, planner in PLANNERS.items():
            for weight in (0.0, 0.1, 1.0):
                objective = GoalDistance(weights=model.goal_weights, stage_weight=weight)
                shares = []
                for steps in (1, 5):
                    drives = drive(asked, model, planner, BUDGET, chosen, execute=steps, objective=objective)
                    shares.append(sum(outcome.success_end for outcome in drives.outcomes) / len(chosen))
                cells = " | ".join(f"{share:.0%}" for share in shares)
                print(f"| `{name}` | {title} | {weight} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
