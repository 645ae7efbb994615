"""Annealing of the noise level of a diffusion model, compared with fixed levels and a deterministic model.

    python benchmarks/diffusion_levels.py --out out/diffusion_levels
    python benchmarks/diffusion_levels.py --out out/diffusion_levels --planners GRASP GD --episodes 100
    python benchmarks/diffusion_levels.py --world wall-pixels --out out/diffusion_wall

The script collects episodes and trains two models of the same width and depth on them: a diffusion model, and a
deterministic model. In the world ``push_t`` their states are those of the simulator. In the world ``wall-pixels`` their
states are the latents of pictures, encoded by the packaged model ``wall-pixels``, and goals are random places.

Four arms then plan the same validation episodes with the same planner and the same budget in transitions. A planner
runs for one half of the budget, and begins again from the best plan for the other half:

- annealed: the first half in the smoothest version of the diffusion model, the second half in the model itself;
- fixed low: both halves in the diffusion model itself;
- fixed high: both halves in its smoothest version;
- deterministic: both halves in the deterministic model.

Plans are executed in the simulator. The script writes one JSON line for each arm, planner and horizon, and prints the
table of these lines. An interrupted run continues after its last line. The default settings take about
five minutes of one core for each world.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from encoded_pictures import OnLatents, with_latents_as_states

from grasp_planner import GD, GRASP, Budget, Dynamics, MultiStart, Planner, Sequential, load_world_model
from grasp_planner.bench.analysing.significance import Paired, Share
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import digest, episodes, task
from grasp_planner.data import Episodes, collect
from grasp_planner.models import LatentModel, StateModel, StateModelConfig
from grasp_planner.training import Phase, Recipe, train
from grasp_planner.training.checkpoints import STATE_FILE

PLANNERS: dict[str, Planner] = {
    "GRASP": MultiStart(GRASP(sync=GD(lr=0.2), sync_every=10, sync_steps=10), starts=4, start_std=1.0),
    "GD": MultiStart(GD(lr=0.2), starts=4, start_std=1.0),
}
ARMS = ("annealed", "fixed low", "fixed high", "deterministic")
Plannable = StateModel | OnLatents


@dataclass(frozen=True)
class World:
    """What is planned in.

    Args:
        task: name of the task.
        horizons: default horizons, in environment steps.
        deterministic: recipe of the deterministic model.
        features: features of the diffusion model.
        octaves: wavelengths of positions that the diffusion model reads.
        pictures: packaged model whose latents are the states of both models; empty: the simulator's states.
    """

    task: str
    horizons: tuple[int, ...]
    deterministic: Recipe
    features: str
    octaves: int = 0
    pictures: str = ""

    @property
    def diffusion(self) -> Recipe:
        """The recipe of the diffusion model, which predicts a whole action block at once."""
        model = replace(self.deterministic.model, features=self.features, substeps=1, octaves=self.octaves)
        return replace(self.deterministic, model=model, phases=(Phase(1.0, 5, 1024),), lr=2e-3)


WORLDS = {
    "push_t": World(
        task="push_t/dset/v2",
        horizons=(40, 60),
        deterministic=Recipe(
            StateModelConfig(state_size=7, action_size=2, features="push_t", width=128, depth=3),
            steps=6000,
            phases=(Phase(0.7, 1, 1024), Phase(0.3, 5, 256)),
            lr=4e-3,
            tolerance=0.03,
            symmetry="push_t",
            horizons=(5, 25, 50),
        ),
        features="push_t_diffusion",
    ),
    "wall-pixels": World(
        task="wall/random_state/v1",
        horizons=(25, 50),
        deterministic=Recipe(
            StateModelConfig(state_size=4, action_size=2, features="plain", width=128, depth=3),
            steps=20_000,
            phases=(Phase(0.7, 1, 1024), Phase(0.3, 5, 256)),
            horizons=(5, 25),
        ),
        features="plain_diffusion",
        octaves=4,
        pictures="wall-pixels",
    ),
}


def collected(world: World, count: int, out: Path) -> list[Path] | Episodes:
    """Collect the episodes that are missing: on Push-T, as many of the policy ``push_t_wild`` as of ``push_t``."""
    if world.pictures:
        encoder = load_world_model(world.pictures)
        assert isinstance(encoder, LatentModel)
        name = world.task.split("/")[0]
        seen = collect(name, count, out / "data", pixels=encoder.pixels, seed=0, workers=1, progress=False)
        return with_latents_as_states(seen, encoder)
    calm = collect("push_t", count, out / "data", seed=0, workers=1, progress=False)
    wild = collect("push_t", count, out / "wild", steps=60, seed=1, workers=1, policy="push_t_wild", progress=False)
    return [calm, wild]


def trained(recipe: Recipe, data: Sequence[Path] | Episodes, folder: Path) -> StateModel:
    """Load a model, after its training has begun, continued or finished as far as needed."""
    if not (folder / "training.json").exists():
        done = train(recipe, data, folder, resume=(folder / STATE_FILE).exists(), progress=False)
        print(f"{folder.name}: {done.seconds:.0f} s, open-loop errors {done.errors}", flush=True)
    return StateModel.from_pretrained(folder)


def plannable(world: World, model: StateModel) -> Plannable:
    """Return the model itself, or in a world of pictures the model with the encoder before it."""
    if not world.pictures:
        return model
    encoder = load_world_model(world.pictures)
    assert isinstance(encoder, LatentModel)
    return OnLatents(encoder, model)


def arm(name: str, diffusion: Plannable, deterministic: Plannable) -> tuple[Plannable, Dynamics, float]:
    """Return the model that encodes, the version of the model that is planned in, and the smoothing of the planner."""
    if name == "deterministic":
        return deterministic, deterministic, 0.0
    fixed = diffusion.smoothed(1.0) if name == "fixed high" else diffusion
    return diffusion, fixed, 1.0 if name == "annealed" else 0.0


def measured(model: Plannable, dynamics: Dynamics, planner: Planner, horizon: int, given: Any) -> dict[str, Any]:
    """Plan and execute validation episodes; return success for each episode, and what it took."""
    at = task(WORLDS[given.world].task, horizon)
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
    parser.add_argument("--steps", type=int, help="optimiser steps of each training")
    parser.add_argument("--world", default="push_t", choices=sorted(WORLDS))
    parser.add_argument("--horizons", type=int, nargs="+", help="in environment steps")
    parser.add_argument("--episodes", type=int, default=50, help="validation episodes")
    parser.add_argument("--rollouts", type=int, default=400, help="budget of a plan in rollouts")
    parser.add_argument("--planners", nargs="+", default=["GRASP"], choices=sorted(PLANNERS))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    world = WORLDS[given.world]
    given.steps = given.steps or world.deterministic.steps
    data = collected(world, given.collected, given.out)
    recipes = {"diffusion": world.diffusion, "deterministic": world.deterministic}
    diffusion, deterministic = (
        plannable(world, trained(replace(recipe, steps=given.steps), data, given.out / name))
        for name, recipe in recipes.items()
    )
    records = given.out / "records.jsonl"
    settings = {name: getattr(given, name) for name in ("world", "episodes", "rollouts", "steps")}
    rows = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    known = {json.dumps([row[key] for key in ("planner", "horizon", "arm", *settings)]): row for row in rows}
    asked = []
    for planner in given.planners:
        for horizon in given.horizons or world.horizons:
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
