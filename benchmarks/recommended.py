"""Compare the recommended planner with GRASP followed by GD, on validation episodes of Push-T.

    python benchmarks/recommended.py --episodes 50

Every planner has 1000 rollouts for each plan. The script prints one row per planner: success in the simulator after the
last step, for each horizon in environment steps. The suite push-t-long chose the settings of GRASP at horizons of 40,
60, 70 and 80 environment steps.
"""

from __future__ import annotations

import argparse

from grasp_planner import GD, GRASP, Budget, MultiStart, Sequential, load_world_model, recommended
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task

HORIZONS = (50, 60, 70, 80)
ROLLOUTS = 1000

GRASP_THEN_GD = Sequential(
    MultiStart(
        GRASP(state_lr=0.387, action_lr=0.134, state_noise=0.705, goal_weight=0.159, sync=GD(lr=0.0581), sync_steps=40),
        starts=4,
        start_std=0.5,
    ),
    GD(lr=0.05),
    share=0.15,
)
ROWS = {"recommended": recommended(), "GRASP, 4 starts, then GD": GRASP_THEN_GD}


def main() -> None:
    """Plan the same episodes with each planner, and print the share of successes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=50)
    count = parser.parse_args().episodes
    model = load_world_model("pusht-state")
    print("| planner | " + " | ".join(f"H = {horizon}" for horizon in HORIZONS) + " |", flush=True)
    for name, planner in ROWS.items():
        cells = []
        for horizon in HORIZONS:
            push_t = task("push_t/dset/v1", horizon)
            budget = Budget(transitions=ROLLOUTS * horizon // model.frameskip)
            chosen = episodes(push_t, "validation", count)
            result = evaluate(push_t, model, planner, budget, chosen)
            cells.append(f"{100 * float(result.success.mean()):.0f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
