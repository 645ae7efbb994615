"""Measure how much sooner planning succeeds on Push-T and PointMaze if it starts from a learned policy.

    python benchmarks/amortised_plans.py --out out/amortised                # about 10 minutes of one core

For each world, the script collects episodes with the scripted policy and trains a policy on them. It then plans
training problems from this policy, and trains a second policy on the same episodes and on the plans that reached their
goal, which is one round of expert iteration. Test problems are planned one at a time, with two planners from four
starts, until the first success in the simulator. The plans of both policies are also executed without planning.

The script writes a JSON line for each problem, planner and start to OUT/records.jsonl, and makes the tables from these
lines. An interrupted run continues where it stopped, except within a training, which begins again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

import grasp_planner
from grasp_planner import Budget, MultiStart, Planner, Problem, load_world_model, plan, recommended
from grasp_planner.bench.machine_load import Load, load_warning
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import executable
from grasp_planner.bench.running.planner_policy import PlannerPolicy
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.running.snapshot_replay import replayed
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.running.timed_jobs import WARM_UP, StopAtSuccess, first_success
from grasp_planner.bench.tasks import Episode, Task, episodes, task
from grasp_planner.data import Episodes, collect, read
from grasp_planner.models import LearnedPolicy, WorldModel
from grasp_planner.training import PolicyRecipe, train_policy

TASKS = {"push_t": "push_t/dset/v2", "point_maze": "point_maze/dset/v1"}
SYMMETRY = {"push_t": "push_t", "point_maze": None}
NO_PLANNER = "none"
POLICIES = {"policy": "policy", "policy after expert iteration": "improved"}  # name of a start -> folder
MAKE = ("horizon", "episodes", "steps", "plans", "transitions")  # the arguments that determine the policies
Start = Callable[[Problem, int], Tensor | None]  # problem, seed -> initial actions; None: zeros


@dataclass(frozen=True)
class Case:
    """A task, its model, and the folder of everything that is made for it."""

    world: str
    task: Task
    model: WorldModel
    folder: Path


def planners() -> dict[str, Planner]:
    """Return the recommended planner, and the recommended planner with starts near the initial actions."""
    planner = recommended()
    assert isinstance(planner, MultiStart)
    return {"recommended": planner, "recommended, start_std 0.3": replace(planner, start_std=0.3)}


def trained(case: Case, data: Episodes, name: str, recipe: PolicyRecipe, plans: Episodes | None = None) -> Path:
    """Return the folder of a policy, which is trained unless it is there."""
    folder = case.folder / name
    if not (folder / "training.json").exists():
        done = train_policy(case.model, data, folder, recipe, plans=plans, progress=False)
        print(f"{case.world}, {name}: trained in {done.seconds:.0f} s, error {done.error:.3f}", flush=True)
    return folder


def learned(case: Case, given: argparse.Namespace) -> dict[str, LearnedPolicy]:
    """Collect, train, plan, and train again; return both policies by the name of the start."""
    quiet = {"workers": 1, "progress": False}
    data = read(collect(case.world, given.episodes, case.folder / "data", **quiet), keys=("state",))
    horizon = given.horizon // case.model.frameskip
    recipe = PolicyRecipe(horizon=horizon, steps=given.steps, symmetry=SYMMETRY[case.world])
    first = trained(case, data, "policy", recipe)
    expert = PlannerPolicy(
        case.task.name,
        given.horizon,
        model_for(case.task),
        recommended(),
        Budget(transitions=given.transitions),
        start=str(first),
    )
    began = time.perf_counter()
    collect(case.world, given.plans, case.folder / "plans", steps=given.horizon, policy=expert, **quiet)
    plans = read(case.folder / "plans", keys=("state", "reward"))
    print(f"{case.world}: {len(plans)} plans for expert iteration, {time.perf_counter() - began:.0f} s", flush=True)
    trained(case, data, "improved", recipe, plans)
    return {name: LearnedPolicy.from_pretrained(case.folder / folder) for name, folder in POLICIES.items()}


def starts(policies: dict[str, LearnedPolicy]) -> dict[str, Start]:
    """Return functions that make the initial actions of a problem, by name."""

    def random(problem: Problem, seed: int) -> Tensor:
        shape = (problem.batch, problem.horizon, problem.action_size)
        share = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
        return problem.low + (problem.high - problem.low) * share

    found: dict[str, Start] = {"zeros": lambda problem, seed: None, "random": random}
    return found | {name: lambda problem, seed, own=own: own.actions(problem) for name, own in policies.items()}


def measured(
    case: Case, planner: Planner | None, start: Start, episode: Episode, limit: float, env: Any
) -> dict[str, float | None]:
    """Return the seconds to the first success, and the part that the start takes; without a planner, run the start."""
    problem = problem_of(case.task, case.model, [episode])
    began = time.perf_counter()
    actions = start(problem, episode.seed)
    spent = time.perf_counter() - began
    if planner is None:
        assert actions is not None
        success = execute(case.task, episode, executable(case.model, actions[0]), env).success_end
        return {"seconds": spent if success else None, "start_seconds": spent}
    stop = StopAtSuccess(case.task, case.model, [episode], env)
    budget = Budget(seconds=limit - spent)
    found = plan(problem, planner, budget, seeds=[episode.seed], warm_start=actions, callback=stop)
    first = stop.firsts[0]
    if first is None:  # the model's rollout never was at the goal, but the simulator may have been
        first = first_success(replayed(case.task, episode, case.model, found, 0, env))
    return {"seconds": None if first is None else spent + first, "start_seconds": spent}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the records; part of a last line, which a kill can leave, is removed from the file."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def check_settings(path: Path, given: argparse.Namespace) -> None:
    """Refuse to mix policies that were made with other settings; write the settings of a new folder."""
    now = {name: getattr(given, name) for name in MAKE}
    if path.exists() and json.loads(path.read_text()) != now:
        raise SystemExit(f"{path} has other settings than {now}: give another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now))


def table(rows: list[dict[str, Any]], limit: float) -> str:
    """Return a Markdown table with a row for each planner and start. A failure counts as the limit."""
    lines = [
        "| planner | start | solved | seconds to the first success, median | seconds of the start, median |",
        "|---|---|---:|---:|---:|",
    ]
    for planner, start in dict.fromkeys((row["planner"], row["start"]) for row in rows):
        own = [row for row in rows if (row["planner"], row["start"]) == (planner, start)]
        seconds = [row["seconds"] for row in own]
        middle = median(limit if one is None else one for one in seconds)
        first = median(row["start_seconds"] for row in own)
        solved = sum(one is not None for one in seconds)
        lines.append(f"| {planner} | {start} | {solved} / {len(own)} | {middle:.3f} | {first:.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/amortised"), help="folder of data, policies and records")
    parser.add_argument("--worlds", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--horizon", type=int, default=50, help="environment steps of a plan")
    parser.add_argument("--episodes", type=int, default=1000, help="episodes of the scripted policy to learn from")
    parser.add_argument("--steps", type=int, default=8000, help="optimiser steps of each policy")
    parser.add_argument("--plans", type=int, default=300, help="plans for expert iteration")
    parser.add_argument("--transitions", type=int, default=5000, help="budget of each of these plans")
    parser.add_argument("--problems", type=int, default=40, help="problems that are timed")
    parser.add_argument("--limit", type=float, default=6.0, help="seconds of each timed plan")
    parser.add_argument("--split", default="test", choices=["test", "validation"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    check_settings(given.out / "settings.json", given)
    records = given.out / "records.jsonl"
    known = read_lines(records)
    for world in given.worlds:
        chosen = task(TASKS[world], given.horizon)
        case = Case(world, chosen, load_world_model(model_for(chosen)), given.out / world)
        policies = learned(case, given)
        env, load, asked = chosen.make(), Load(), starts(policies)
        arms = [(name, planner, start) for name, planner in planners().items() for start in asked]
        arms += [(NO_PLANNER, None, start) for start in policies]
        head = {"schema": 1, "task": chosen.name, "horizon": given.horizon, "split": given.split, "limit": given.limit}
        drawn = episodes(chosen, given.split, given.problems)
        problem = problem_of(chosen, case.model, drawn[:1])
        for planner in planners().values():
            plan(problem, planner, WARM_UP)
        for start in asked.values():
            start(problem, 0)
        for episode in drawn:
            for name, planner, start in arms:
                key = head | {"planner": name, "start": start, "episode": episode.index}
                if any(key.items() <= row.items() for row in known):
                    continue
                numbers = measured(case, planner, asked[start], episode, given.limit, env)
                versions = {"version": grasp_planner.__version__, "torch": torch.__version__}
                row = key | numbers | versions | {"machine": platform.machine(), "at": round(time.time())}
                with records.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                known.append(row)
        numbers = {episode.index for episode in drawn}
        rows = [row for row in known if head.items() <= row.items() and row["episode"] in numbers]
        print(f"\n{chosen.name}, H = {given.horizon} environment steps, {given.split} problems\n")
        print(table(rows, given.limit), flush=True)
        if warning := load_warning(load.others()):
            print(f"\n{warning}")


if __name__ == "__main__":
    main()
