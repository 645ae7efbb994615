"""Ablations of pixel models for planning: short trainings on Wall with one change each, and a table of the results.

    python benchmarks/pixel_models.py DATA OUT [--steps 400] [--episodes 600] [--only keypoints proprioception]

`grasp collect wall --episodes 2000 --pixels 64 --out DATA` makes the data. All trainings use one seed and one thread.
A row of the table holds these measures:

- the error of the position that the probe predicts from true pictures, and from predictions 5 and 25 environment steps
  ahead;
- Spearman's rank correlation of the model's goal distance with the length of the shortest path, which leads through the
  door if the wall is in between;
- success at the end of two successive plans of 25 environment steps, for each planner, on 30 validation episodes whose
  goals come from the data;
- success of CEM at the end of four successive plans, with start and goal in different rooms.

Finished rows are read from OUT/rows.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pixel_planning import PLANNERS, replanned

from grasp_planner import Budget, load_world_model
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.core.world_model import goal_objective
from grasp_planner.data import read
from grasp_planner.training import Phase, Recipe, recipe, train

BUDGET = Budget(transitions=6_000)
EPISODES = 30
PLAIN = {"still": False}
CONVOLUTIONS = {**PLAIN, "encoder": "convolutions", "channels": 16}
APART = {"decorrelation": 0.1}
GAUSSIAN = {"variance": 0.0, "sigreg": 0.09, "inverse": 0.0}

# name -> changes of the model, changes of the loss, environment steps of the prediction loss
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "keypoints, 4 wide, ground known": ({}, {}, 15),
    "no inverse dynamics": ({}, {"inverse": 0.0}, 15),
    "straightening 0.1": ({}, {"straightening": 0.1}, 15),
    "one-step loss": ({}, {}, 5),
    "proprioception, weight 1": ({"proprio_size": 2, "proprio_weights": (1.0, 1.0)}, {}, 15),
    "proprioception, weight 0": ({"proprio_size": 2, "proprio_weights": (0.0, 0.0)}, {}, 15),
    "keypoints, 4 wide": (PLAIN, APART, 15),
    "keypoints, 16 wide": ({**PLAIN, "latent": 16}, APART, 15),
    "convolutions, 4 wide": (CONVOLUTIONS, APART, 15),
    "convolutions, 16 wide": ({**CONVOLUTIONS, "latent": 16}, APART, 15),
    "convolutions, 64 wide": ({**CONVOLUTIONS, "latent": 64}, APART, 15),
    "convolutions, 64 wide, SIGReg": ({**CONVOLUTIONS, "latent": 64}, GAUSSIAN, 15),
    "convolutions, 16 wide, reconstruction": ({**CONVOLUTIONS, "latent": 16}, {**APART, "reconstruction": 1.0}, 15),
    # Where the latent collapses to a single slow coordinate, the decorrelation penalty must be larger.
    "convolutions, 16 wide, decorrelation 1": ({**CONVOLUTIONS, "latent": 16}, {"decorrelation": 1.0}, 5),
    "convolutions, 64 wide, decorrelation 1": ({**CONVOLUTIONS, "latent": 64}, {"decorrelation": 1.0}, 5),
}


def setting(name: str, steps: int) -> Recipe:
    base = recipe("wall-pixels")
    model, loss, unroll = ROWS[name]
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, **model),
        latent_loss=dataclasses.replace(base.latent_loss, **loss),
        steps=steps,
        phases=(Phase(0.6, unroll, 24), Phase(0.4, 25 if unroll > 5 else 5, 128, frozen=True)),
        horizons=(5, 25),
        average=0.99,
    )


def way(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the length in px of the shortest paths between positions (n, 2) of Wall."""
    straight = np.linalg.norm(a - b, axis=-1)
    sides = np.sign(a[:, 0] - 32)
    best = np.full(len(a), np.inf)
    for y in np.linspace(26.5, 33.5, 8):
        near = np.stack([32 + 3 * sides, np.full(len(a), y)], axis=-1)
        far = np.stack([32 - 3 * sides, np.full(len(a), y)], axis=-1)
        through = np.linalg.norm(a - near, axis=-1) + 6 + np.linalg.norm(far - b, axis=-1)
        best = np.minimum(best, through)
    return np.where(np.sign(a[:, 0] - 32) == np.sign(b[:, 0] - 32), straight, best)


def rank_correlation(model: Any, data: Any) -> float:
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(int(data.lengths.sum()), 1000, replace=False))
    places = data.array("state")[rows]
    seen = {key: data.array(key)[rows][:, None] for key in ("pixels", "proprio")}
    latents = model.encode(seen)[:, 0] / model.scale
    one, other = rng.integers(0, 1000, (2, 4000))
    distance = goal_objective(model).terminal(latents[one], latents[other]).numpy()
    ranks = [np.argsort(np.argsort(values)) for values in (distance, way(places[one], places[other]))]
    return float(np.corrcoef(ranks)[0, 1])


def measured(folder: Path, data: Any) -> dict[str, Any]:
    model: Any = load_world_model(folder)
    row: dict[str, Any] = {"rank correlation": round(rank_correlation(model, data), 2)}
    wall, rooms = task("wall/dset/v1", 25), task("wall/random_state/v1", 25)
    asked, across = episodes(wall, "validation", EPISODES), episodes(rooms, "validation", EPISODES)
    for name in ("cem", "gd", "grasp"):
        _, end = replanned(wall, model, PLANNERS[name], BUDGET, asked, execute=5, steps=50)
        row[f"{name}, 2 plans"] = round(float(end.mean()), 2)
    _, end = replanned(rooms, model, PLANNERS["cem"], BUDGET, across, execute=5, steps=100)
    return {**row, "rooms, cem, 4 plans": round(float(end.mean()), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--episodes", type=int, default=600, help="of DATA, to learn from")
    parser.add_argument("--only", nargs="*", help="words that a row's name begins with")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    file = settings.out / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    data = read(settings.data, keys=("pixels", "state", "proprio"))
    data = data.select(np.arange(min(settings.episodes, len(data))))
    for name in ROWS:
        wanted = not settings.only or any(name.startswith(word) for word in settings.only)
        if not wanted or any(row["name"] == name for row in rows):
            continue
        folder = settings.out / name.replace(", ", "_").replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)  # a training that was interrupted
        trained = train(setting(name, settings.steps), data, folder, validate_every=10**9, checkpoint_every=10**9)
        errors = {key: {h: one["mean"] for h, one in found.items()} for key, found in trained.errors.items()}
        row = {
            "name": name,
            "steps": settings.steps,
            "seconds": round(trained.seconds),
            "read, px": round(errors["read_position"]["5"], 1),
            "5 steps, px": round(errors["position"]["5"], 1),
            "25 steps, px": round(errors["position"]["25"], 1),
            **measured(folder, data),
        }
        rows.append(row)
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")
    columns = [key for key in rows[0] if key not in ("name", "steps")]
    print("| |" + "|".join(columns) + "|\n|---|" + "---:|" * len(columns))
    for row in rows:
        print(f"| {row['name']} |" + "|".join(str(row[key]) for key in columns) + "|")


if __name__ == "__main__":
    main()
