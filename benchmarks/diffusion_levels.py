"""Annealing of the noise level of a diffusion model on Push-T, compared with fixed levels and a deterministic model.

    python benchmarks/diffusion_levels.py --out out/diffusion_levels
    python benchmarks/diffusion_levels.py --out out/diffusion_levels --planners GRASP GD --episodes 100

The script collects episodes of both scripted policies and trains two models of the same width and depth on them: a
diffusion model, and the deterministic model of the package. Four arms then plan the same validation episodes with the
same planner and the same budget in transitions. A planner runs for one half of the budget, and begins again from the
best plan for the other half:

- annealed: the first half in the smoothest version of the diffusion model, the second half in the model itself;
- fixed low: both halves in the diffusion model itself;
- fixed high: both halves in its smoothest version;
- deterministic: both halves in the deterministic model.

Plans are executed in the simulator. The script writes one JSON line for each arm, planner and horizon, and prints the
table of these lines. An interrupted run continues after its last line. The default settings take about
five minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from grasp_planner import GD, GRASP, Budget, Dynamics, MultiStart, Planner, Sequential
from grasp_planner.bench.analysing.significance import Paired, Share
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import digest, episodes, task
from grasp_planner.data import collect
from grasp_planner.models import StateModel, StateModelConfig
from grasp_planner.training import Phase, Recipe, train
from grasp_planner.training.checkpoints import STATE_FILE

TASK = "push_t/dset/v2"
PLANNERS: dict[str, Planner] = {
    "GRASP": MultiStart(GRASP(sync=GD(lr=0.2), sync_every=10, sync_steps=10), starts=4, start_std=1.0),
    "GD": MultiStart(GD(lr=0.2), starts=4, start_std=1.0),
}
ARMS = ("annealed", "fixed low", "fixed high", "deterministic")
DETERMINISTIC = Recipe(
    StateModelConfig(state_size=7, action_size=2, features="push_t", width=128, depth=3),
    steps=6000,
    phases=(Phase(0.7, 1, 1024), Phase(0.3, 5, 256)),
    lr=4e-3,
    tolerance=0.03,
    symmetry="push_t",
    horizons=(5, 25, 50),
)
DIFFUSION = replace(
    DETERMINISTIC,
    model=replace(DETERMINISTIC.model, features="push_t_diffusion", substeps=1, octaves=0),
    phases=(Phase(1.0, 5, 1024),),
    lr=2e-3,
)


def collected(count: int, out: Path) -> list[Path]:
    """Collect the episodes that are missing: as many of the policy ``push_t_wild`` as of the policy ``push_t``."""
    calm = collect("push_t", count, out / "data", seed=0, workers=1, progress=False)
    wild = collect("push_t", count, out / "wild", steps=60, seed=1, workers=1, policy="push_t_wild", progress=False)
    return [calm, wild]


def trained(recipe: Recipe, data: Sequence[Path], folder: Path) -> StateModel:
    """Load a model, after its training has begun, continued or finished as far as needed."""
    if not (folder / "training.json").exists():
        done = train(recipe, data, folder, resume=(folder / STATE_FILE).exists(), progress=False)
        print(f"{folder.name}: {done.seconds:.0f} s, errors of the block in px {done.errors['block_px']}", flush=True)
    return StateModel.from_pretrained(folder)


def arm(name: str, diffusion: StateModel, deterministic: StateModel) -> tuple[StateModel, Dynamics, float]:
    """Return the model that encodes, the version of the model that is planned in, and the smoothing of the planner."""
    if name == "deterministic":
        return deterministic, deterministic, 0.0
    fixed = diffusion.smoothed(1.0) if name == "fixed high" else diffusion
    return diffusion, fixed, 1.0 if name == "annealed" else 0.0


def measured(model: StateModel, dynamics: Dynamics, planner: Planner, horizon: int, given: Any) -> dict[str, Any]:
    """Plan and execute validation episodes; return success for each episode, and what it took."""
    at = task(TASK, horizon)
    chosen = episodes(at, "validation", given.episodes)
    budget = Budget(transitions=given.rollouts * horizon // model.frameskip)
    found = evaluate(at, model, planner, budget, chosen, dynamics=dynamics)
    assert found.success_model is not None
    return {
        "digest": digest(chosen),
        "success": found.success.tolist(),
        "success_model": found.success_model.tolist(),
        "transitions": found.plan.transitions,
        "processor_seconds": round(found.processor_seconds / len(chosen), 3),
    }


def table(rows: Sequence[dict[str, Any]]) -> None:
    """Print a row for each line of the file, compared with the arm ``fixed low`` on the same episodes."""
    print(
        "| planner | H | arm | success in the simulator | under the model | only this arm | only fixed low | p | ",
        end="",
    )
    print("processor seconds of a plan |\n|---|---:|---|---:|---:|---:|---:|---:|---:|")
    low = {(row["planner"], row["horizon"]): row["success"] for row in rows if row["arm"] == "fixed low"}
    for row in rows:
        won, believed = row["success"], row["success_model"]
        reference = low.get((row["planner"], row["horizon"]))
        apart = "| | "
        if reference is not None and row["arm"] != "fixed low":
            pair = Paired.of(won, reference)
            apart = f"{pair.first_only} | {pair.second_only} | {pair.p_value:.2g}"
        print(
            f"| {row['planner']} | {row['horizon']} | {row['arm']} | {Share(sum(won), len(won))} | "
            f"{sum(believed) / len(believed):.0%} | {apart} | {row['processor_seconds']:.2f} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect, train and plan what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("out/diffusion_levels"), help="folder of data, models, records"
    )
    parser.add_argument("--collected", type=int, default=1000, help="collected episodes of each policy")
    parser.add_argument("--steps", type=int, default=DIFFUSION.steps, help="optimiser steps of each training")
    parser.add_argument("--horizons", type=int, nargs="+", default=[40, 60], help="in environment steps")
    parser.add_argument("--episodes", type=int, default=50, help="validation episodes")
    parser.add_argument("--rollouts", type=int, default=400, help="budget of a plan in rollouts")
    parser.add_argument("--planners", nargs="+", default=["GRASP"], choices=sorted(PLANNERS))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = collected(given.collected, given.out)
    diffusion = trained(replace(DIFFUSION, steps=given.steps), data, given.out / "diffusion")
    deterministic = trained(replace(DETERMINISTIC, steps=given.steps), data, given.out / "deterministic")
    records = given.out / "records.jsonl"
    settings = {"episodes": given.episodes, "rollouts": given.rollouts, "steps": given.steps}
    rows = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    known = {json.dumps([row[key] for key in ("planner", "horizon", "arm", *settings)]): row for row in rows}
    asked = []
    for planner in given.planners:
        for horizon in given.horizons:
            for name in ARMS:
                about = {"planner": planner, "horizon": horizon, "arm": name, **settings}
                key = json.dumps(list(about.values()))
                if key not in known:
                    model, dynamics, smoothing = arm(name, diffusion, deterministic)
                    twice = Sequential(PLANNERS[planner], PLANNERS[planner], share=0.5, smoothing=smoothing)
                    begun = time.monotonic()
                    known[key] = about | measured(model, dynamics, twice, horizon, given)
                    with records.open("a") as file:
                        file.write(json.dumps(known[key]) + "\n")
                    print(f"{name}, {planner}, H = {horizon}: {time.monotonic() - begun:.0f} s", flush=True)
                asked.append(known[key])
    table(asked)


if __name__ == "__main__":
    main()
