"""Print a Markdown table of baselines: the success of policies that do not plan, for every task.

python benchmarks/floors.py --episodes 200 --horizons 25 50 80
"""

from __future__ import annotations

import argparse

from grasp_planner.bench.running.policy_floors import floor
from grasp_planner.bench.tasks import TASKS, episodes, task


def main() -> None:
    """Parse the arguments, measure, and print one row per task and horizon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--horizons", type=int, nargs="+", default=[25, 50, 80])
    parser.add_argument("--tasks", nargs="+", default=sorted(TASKS))
    settings = parser.parse_args()
    print(
        "| task | H | random, at the end | random, at any time | nothing, at the end | nothing, at any time | dropped |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in settings.tasks:
        for horizon in settings.horizons:
            chosen = task(name, horizon)
            drawn = episodes(chosen, "test", settings.episodes)
            random, nothing = (floor(chosen, drawn, policy) for policy in ("random", "nothing"))
            dropped = sum(episode.dropped for episode in drawn)
            share = f"{100 * dropped / (dropped + len(drawn)):.0f} %"
            print(f"| {name} | {horizon} | {random.end} | {random.any} | {nothing.end} | {nothing.any} | {share} |")


if __name__ == "__main__":
    main()
