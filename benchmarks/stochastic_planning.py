"""Planning with action noise: by the mean, by shared samples, and by the worst quarter of the samples (CVaR).

Plans of Push-T and of BallNav's map `cup` are made in three ways: in the model without noise ("mean"), on k futures
with shared noise ("k samples"), and by the mean cost of the worst quarter of these futures ("CVaR"). They are executed
in the simulator with the same noise level, in open loop and, for as many steps, in closed loop. Every plan has the same
budget of transitions of the model: a step of k futures costs k transitions. All rows have the same test episodes, and
the same noise in each episode. If a row has several settings, the best is chosen on validation episodes, in open loop.

    python benchmarks/stochastic_planning.py --out out/stochastic_planning.jsonl

The script writes one JSON line for each measurement, and prints tables. An interrupted run continues after its last
line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import grasp_planner
from grasp_planner import CEM, Budget, Objective, Planner, WorldModel, load_world_model, plan, recommended
from grasp_planner.bench.running.closed_loop import drive
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import executable
from grasp_planner.bench.running.simulation import Outcome, execute
from grasp_planner.bench.tasks import Episode, Task, digest, episodes, task
from grasp_planner.core.world_model import goal_objective
from grasp_planner.models import CVaR, Sampled
from grasp_planner.planners.recommended import recommended_for_any_cost

ALPHA = 0.25
TUNING_NOISE = 0.1
STAGE_WEIGHT = 0.1  # in closed loop, where each new plan may otherwise postpone the goal
EXECUTE = 2  # model steps between two plans in closed loop
MODES = ("open loop", "closed loop")
# The settings that 40 trials chose for the suite push-t-long, those that ball_nav_sweep.py chose, and round numbers.
CEMS = (
    CEM(samples=32, elites=3, std=0.829, min_std=0.2),
    CEM(samples=100, elites=5, std=1.31, min_std=0.2, momentum=0.1),
    CEM(samples=64, elites=8),
)

Record = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A task and its model.

    Attributes:
        task: the task without noise.
        model: the name of the model.
        limits: low and high, to which the environment clips noisy actions; ``None``: it does not clip.
        distance: the name of the distance to the goal.
    """

    task: Task
    model: str
    limits: tuple[float, float] | None
    distance: str


@dataclass(frozen=True)
class Row:
    """A planner and what it minimises.

    Attributes:
        planner: name of the planner.
        settings: the planner, with one or several settings to choose from.
        samples: number of sampled futures; 1: the model without noise.
        alpha: share of the worst samples that count; ``None``: the mean over samples.
    """

    planner: str
    settings: tuple[Planner, ...]
    samples: int = 1
    alpha: float | None = None

    @property
    def objective(self) -> str:
        """What the plan minimises, for tables."""
        if self.samples == 1:
            return "mean"
        return f"{self.samples} samples" if self.alpha is None else f"CVaR {self.alpha}, {self.samples} samples"


WORLDS = {
    "push_t": World(task("push_t/dset/v2", 25), "pusht-state", None, "position_px"),
    "ball_nav": World(task("ball_nav/random_state/v1", 40), "ball-nav", (-1.0, 1.0), "position_m"),
}
BEST, ANY_COST = (recommended(),), (recommended_for_any_cost(),)
ROWS = (
    *(Row("recommended", BEST, samples) for samples in (1, 4, 8)),
    *(Row("recommended for any cost", ANY_COST, samples) for samples in (1, 8)),
    Row("recommended for any cost", ANY_COST, 8, ALPHA),
    *(Row("CEM", CEMS, samples) for samples in (1, 4, 8)),
    Row("CEM", CEMS, 8, ALPHA),
)
MOST_SAMPLES = max(row.samples for row in ROWS)


def posed(world: World, row: Row, noise: float, stage_weight: float) -> tuple[WorldModel, Objective]:
    """Return the model and the objective that a row plans with."""
    model = load_world_model(world.model)
    alone = replace(goal_objective(model), stage_weight=stage_weight)
    if row.samples == 1:
        return model, alone
    futures = Sampled(model, row.samples, action_noise=noise, action_bounds=world.limits)
    if row.alpha is not None:
        return futures, CVaR(alone, row.samples, row.alpha)
    return futures, replace(goal_objective(futures), stage_weight=stage_weight)


def planned(
    world: World, row: Row, planner: Planner, noise: float, mode: str, chosen: list[Episode], given: argparse.Namespace
) -> tuple[list[list[Outcome]], int, float]:
    """Plan and execute. Return the outcomes of every episode, transitions per plan, and seconds of planning."""
    noisy = replace(world.task, action_noise=noise)
    model, objective = posed(world, row, noise, STAGE_WEIGHT if mode == "closed loop" else 0.0)
    steps = world.task.horizon // model.frameskip
    budget = Budget(transitions=given.rollouts * steps // row.samples)
    if mode == "closed loop":
        driven = drive(noisy, model, planner, budget, chosen, execute=EXECUTE, duration=1, objective=objective)
        spent = max(found.transitions for found in driven.plans)
        outcomes = [[outcome] for outcome in driven.outcomes]
        return outcomes, row.samples * spent, sum(found.seconds for found in driven.plans)
    problem = problem_of(noisy, model, chosen, objective=objective)
    found = plan(problem, planner, budget, seeds=[episode.seed for episode in chosen])
    env, actions = noisy.make(), executable(model, found.actions)
    runs = 1 if noise == 0 else given.executions
    outcomes = [
        [execute(noisy, replace(one, seed=one.seed + run), taken, env) for run in range(runs)]
        for one, taken in zip(chosen, actions, strict=True)
    ]
    return outcomes, row.samples * found.transitions, found.seconds


class Runs:
    """The measurements of a file, to which new measurements are added."""

    def __init__(self, path: Path, given: argparse.Namespace) -> None:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a kill left a part of a line
            path.write_text(whole, encoding="utf-8")
        self.path, self.given = path, given
        self.known: list[Record] = [json.loads(line) for line in whole.splitlines()]

    def get(self, name: str, row: Row, planner: Planner, noise: float, mode: str, split: str) -> Record:
        """Return a measurement; measure it if the file does not hold it."""
        world, given = WORLDS[name], self.given
        head: Record = {
            "schema": 1,
            "version": grasp_planner.__version__,
            "world": name,
            "mode": mode,
            "noise": noise,
            "planner": row.planner,
            "objective": row.objective,
            "settings": repr(planner),
            "split": split,
            **{part: getattr(given, part) for part in ("episodes", "executions", "rollouts")},
        }
        for run in self.known:
            if head.items() <= run.items():
                return run
        started, chosen = time.perf_counter(), episodes(world.task, split, given.episodes)
        outcomes, transitions, seconds = planned(world, row, planner, noise, mode, chosen, given)
        run = head | {
            "digest": digest(chosen),
            "transitions": transitions,
            "planning_seconds": round(seconds, 2),
            "seconds": round(time.perf_counter() - started, 2),
            "success": [[int(one.success_end) for one in each] for each in outcomes],
            "reached": [[int(one.success_any) for one in each] for each in outcomes],
            "distance": [[round(float(one.distances[world.distance][-1]), 4) for one in each] for each in outcomes],
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
        self.known.append(run)
        what = f"{name}, {mode}, noise {noise}, {split}: {row.planner}, {row.objective}"
        print(f"{run['seconds']:7.1f} s  {what}: {np.mean(run['success']):.0%}", flush=True)
        return run

    def tuned(self, name: str, row: Row) -> Planner:
        """Return the best setting of a row on validation episodes: most successes, and in a tie the least distance."""
        if len(row.settings) == 1:
            return row.settings[0]
        runs = [self.get(name, row, one, TUNING_NOISE, "open loop", "validation") for one in row.settings]
        quality = [(np.mean(run["success"]), -np.mean(run["distance"])) for run in runs]
        return row.settings[quality.index(max(quality))]


def per_episode(run: Record, quantity: str) -> np.ndarray:
    """Return the mean over the executions of each episode."""
    return np.array([np.mean(each) for each in run[quantity]])


def success_cell(run: Record, mean: Record) -> str:
    """Return success in percent, and the difference from planning by the mean with its standard error."""
    success, other = 100 * per_episode(run, "success"), 100 * per_episode(mean, "success")
    text = f"{success.mean():.0f}"
    if run is mean or len(success) < 2:
        return text
    difference = success - other
    return f"{text} ({difference.mean():+.0f} ± {difference.std(ddof=1) / len(difference) ** 0.5:.0f})"


def distance_cell(run: Record) -> str:
    """Return the mean distance and the mean of the worst quarter of the distances."""
    distance = np.sort(np.concatenate(run["distance"]))
    worst = distance[-max(1, round(ALPHA * len(distance))) :]
    return f"{distance.mean():.3g} / {worst.mean():.3g}"


def table(runs: dict[tuple[Row, float], Record], levels: Sequence[float]) -> str:
    """Return a Markdown table with a row for each planner and objective, and columns for the noise levels."""
    heads = [f"success %, noise {noise:g}" for noise in levels] + [f"distance, noise {noise:g}" for noise in levels]
    lines = ["| planner | objective | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(heads)]
    means = {(row.planner, noise): run for (row, noise), run in runs.items() if row.samples == 1}
    for row in ROWS:
        found = [runs.get((row, noise)) for noise in levels]
        if not any(found):
            continue
        cells = ["" if run is None else success_cell(run, means[row.planner, run["noise"]]) for run in found]
        cells += ["" if run is None else distance_cell(run) for run in found]
        lines.append(f"| {row.planner} | {row.objective} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0, 0.1, 0.3], help="standard deviations")
    parser.add_argument("--split", default="test", choices=["test", "validation"], help="episodes of the tables")
    parser.add_argument("--episodes", type=int, default=24, help="number of validation and of test episodes")
    parser.add_argument("--executions", type=int, default=8, help="executions of each plan in open loop")
    parser.add_argument("--rollouts", type=int, default=1200, help="budget of a plan, in rollouts of the model")
    parser.add_argument("--out", type=Path, default=Path("out/stochastic_planning.jsonl"))
    given = parser.parse_args(arguments)
    if given.rollouts < MOST_SAMPLES:
        parser.error(f"--rollouts must be at least {MOST_SAMPLES}, so that every row can roll out one plan")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the file does not hold, and print the tables."""
    given = parsed(arguments)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    runs, tables = Runs(given.out, given), []
    for name in given.worlds:
        planners = {row: runs.tuned(name, row) for row in ROWS}
        for mode in given.modes:
            found = {
                (row, noise): runs.get(name, row, planner, noise, mode, given.split)
                for noise in given.noise
                for row, planner in planners.items()
                if noise > 0 or row.samples == 1  # without noise, all samples are equal
            }
            tables.append(f"{name}, {mode}:\n\n{table(found, given.noise)}")
    print("\n\n".join(["", *tables]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
