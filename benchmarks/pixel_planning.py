"""Measure the success of planners in a checkpoint's model, executed in the simulator: replanning, and open loop.

    python benchmarks/pixel_planning.py wall-pixels --task wall/dset/v1 --episodes 50 --split validation

Replanning: the goal is 25 environment steps ahead on a held-out trajectory. An `Agent` plans five model steps ahead,
    executes `--execute` model steps, and replans. An episode has 50 environment steps. Success is counted at any time
    (as in stable-worldmodel), and at the end. Open loop: one plan covers the whole horizon, and success is counted at
    the end. The script prints one line of JSON per row, and then a table. Budgets are in model transitions per plan.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grasp_planner import CEM, GD, GRASP, MPPI, Agent, Budget, MultiStart, Planner, load_world_model
from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.running.observing import observe, stacked
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import Episode, Task, digest, episodes, task
from grasp_planner.core.world_model import SeesPictures, WorldModel

PLANNERS: dict[str, Planner] = {
    "cem": CEM(),
    "cem-100": CEM(samples=100, elites=12),
    "gd": MultiStart(GD(lr=0.2, action_noise=0.05), starts=16, start_std=1.0),
    "grasp": MultiStart(
        GRASP(
            state_lr=0.1,
            action_lr=0.1,
            state_noise=0.3,
            noise_schedule="linear",
            sync=GD(lr=0.2),
            sync_every=15,
            sync_steps=20,
        ),
        starts=4,
        start_std=0.0,
    ),
    "mppi": MPPI(),
    "gd-32": MultiStart(GD(lr=0.2, action_noise=0.05), starts=32, start_std=2.0),
}


def replanned(
    setting: Task,
    model: WorldModel,
    planner: Planner,
    budget: Budget,
    asked: list[Episode],
    *,
    execute: int,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Run an agent for `steps` environment steps, and return success at any time and at the end, (n,) bool each."""
    pixels = model.pixels if isinstance(model, SeesPictures) else None
    worlds = [setting.make(pixels=pixels) for _ in asked]
    moments = [observe(world, episode) for world, episode in zip(worlds, asked, strict=True)]
    seen, wanted = [[moment[i] for moment in moments] for i in (0, 1)]
    agent = Agent(
        model,
        planner,
        budget,
        execute,
        horizon=setting.horizon // model.frameskip,
        seeds=[episode.seed for episode in asked],
        batch=len(asked),
    )
    goals = np.stack([episode.goal for episode in asked])
    ever = np.zeros(len(asked), dtype=bool)
    now = ever
    for _ in range(steps // model.frameskip):
        for actions, i in zip(agent.act(stacked(seen), stacked(wanted)), range(len(asked)), strict=True):
            for action in actions.astype(np.float64):
                seen[i] = worlds[i].step(action)[0]
                ever[i] |= setting.success(seen[i]["state"], goals[i])
        now = np.array([bool(setting.success(one["state"], goal)) for one, goal in zip(seen, goals, strict=True)])
    return ever, now


def share(successes: np.ndarray) -> str:
    return str(Share(int(successes.sum()), len(successes)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a packaged name or a folder")
    parser.add_argument("--task", required=True)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--planners", nargs="+", default=["cem", "gd", "grasp"], choices=sorted(PLANNERS))
    parser.add_argument("--transitions", type=int, default=30_000, help="for each plan")
    parser.add_argument("--horizon", type=int, nargs="+", default=[25], help="of open-loop plans")
    parser.add_argument(
        "--execute", type=int, nargs="*", default=[5], help="model steps between plans; none: no replanning"
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--objective-weights", help="proprioception's weights in the goal, comma-separated")
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    model: Any = load_world_model(settings.model)
    if settings.objective_weights:
        import dataclasses

        given = tuple(float(one) for one in settings.objective_weights.split(","))
        model.config = dataclasses.replace(model.config, proprio_weights=given)
    budget = Budget(transitions=settings.transitions)
    rows: list[dict[str, Any]] = []
    for horizon in settings.horizon:
        setting = task(settings.task, horizon)
        asked = episodes(setting, settings.split, settings.episodes)
        about = {
            "model": str(settings.model),
            "task": settings.task,
            "horizon": horizon,
            "episodes": len(asked),
            "digest": digest(asked),
        }
        for name in settings.planners:
            begun = time.monotonic()
            found = evaluate(setting, model, PLANNERS[name], budget, asked)
            row = {**about, "planner": name, "mode": "open loop", "transitions": found.plan.transitions}
            imagined = None if found.success_model is None else round(float(found.success_model.mean()), 3)
            row |= {"end": share(found.success), "any": share(found.reached), "under the model": imagined}
            if found.distances_model is not None:
                medians = {of: round(float(np.median(each)), 1) for of, each in found.distances_model.items()}
                row["median distances under the model"] = medians
            rows.append(report(row, begun, settings.out))
            for execute in settings.execute if horizon == settings.horizon[0] else []:
                begun = time.monotonic()
                ever, now = replanned(
                    setting, model, PLANNERS[name], budget, asked, execute=execute, steps=settings.steps
                )
                row = {**about, "planner": name, "mode": f"replan every {execute}", "transitions": settings.transitions}
                rows.append(report({**row, "end": share(now), "any": share(ever)}, begun, settings.out))


def report(row: dict[str, Any], begun: float, out: Path | None) -> dict[str, Any]:
    row["seconds"] = round(time.monotonic() - begun, 1)
    print(json.dumps(row), flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return row


if __name__ == "__main__":
    main()
