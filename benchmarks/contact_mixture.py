"""A mixture of experts compared with a single network of the same size, as models of Push-T.

Three kinds of model are trained by the recipe ``pusht-state`` on the same data: a single network, a mixture of experts,
and a mixture with the load balancing term. All kinds have the same number of parameters (the mixture has at most as
many), each prediction uses all of them, and all trainings have the same number of optimiser steps.

The script measures open-loop errors with and without contact, success of planning on validation episodes, and the
derivatives of the model where the pusher begins to touch the block. Finished parts are lines of OUT/results.jsonl. The
same command continues an interrupted run. The tables are printed at the end.

    python benchmarks/contact_mixture.py --out out/contact_mixture
    python benchmarks/contact_mixture.py --out out/contact_mixture_tiny --tiny
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contact_probes import DEPTHS, Probes, Responses, pose_of, probes, responses_of
from event_verifier import TOUCHING, gap
from torch import Tensor

from grasp_planner import GD, Budget, MultiStart, Planner, recommended
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import Episode, episodes, task
from grasp_planner.data import Episodes, Windows, collect, read
from grasp_planner.domains.push_t.physics import ACTION_SCALE
from grasp_planner.models import StateModel, StateModelConfig
from grasp_planner.training import Recipe, recipe, train
from grasp_planner.training.checkpoints import STATE_FILE
from grasp_planner.training.state_learner import push_t_errors
from grasp_planner.training.validation import to_tensors

TASK = "push_t/dset/v2"
MODEL_STEPS = (1, 5, 10)
PLANNERS: dict[str, Planner] = {"recommended": recommended(), "GD": MultiStart(GD(lr=0.2), starts=16, start_std=2.3)}
POLICIES = ("push_t", "push_t_wild")


@dataclass(frozen=True)
class Settings:
    """What is trained and measured.

    Attributes:
        width: units in a hidden layer of the single network.
        experts: number of experts of the mixtures.
        balance: weight of the load balancing term in the third kind of model.
        seeds: seeds of the trainings.
        steps: optimiser steps of a training.
        batch: factor on the batches of the recipe.
        validation: share of the episodes that training holds out.
        training: episodes of each policy to train on.
        testing: episodes of each policy to measure open-loop errors on.
        episode_steps: environment steps of the episodes of each policy.
        windows: windows of each policy to measure open-loop errors on.
        horizons: horizons of planning, in environment steps.
        episodes: validation episodes to plan.
        rollouts: budget of a plan.
        probes: places at the block's outline where derivatives are compared.
    """

    width: int = 192
    experts: int = 4
    balance: float = 0.001
    seeds: tuple[int, ...] = (0, 1)
    steps: int = 4000
    batch: float = 1.0
    validation: float = 0.05
    training: tuple[int, int] = (500, 1000)
    testing: tuple[int, int] = (60, 200)
    episode_steps: tuple[int, int] = (200, 60)
    windows: int = 2000
    horizons: tuple[int, ...] = (40, 60)
    episodes: int = 50
    rollouts: int = 300
    probes: int = 48


TINY = Settings(
    width=12,
    experts=2,
    seeds=(0,),
    steps=4,
    batch=0.02,
    validation=0.4,
    training=(4, 4),
    testing=(2, 2),
    episode_steps=(60, 60),
    windows=20,
    horizons=(40,),
    episodes=1,
    rollouts=30,
    probes=2,
)


class Results:
    """Finished parts, each a line of a file. The first line holds the settings.

    Raises:
        SystemExit: the file holds results of other settings.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        first = json.loads(json.dumps({"part": "settings", **asdict(settings)}))
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]
        if not self.rows:
            self.add(first)
        if self.rows[0] != first:
            raise SystemExit(f"{path} holds results of other settings: choose another folder for --out")

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def part(self, make: Callable[[], dict[str, Any]], **key: Any) -> None:
        """Compute and store a part, unless it is stored already."""
        if not self.find(**key):
            self.add(key | make())
            print("done:", ", ".join(str(value) for value in key.values()), flush=True)

    def find(self, **key: Any) -> list[dict[str, Any]]:
        """Return the rows with these values."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in key.items())]


def recipes(settings: Settings, seed: int) -> dict[str, Recipe]:
    """Return the recipe of each kind of model."""
    base = recipe("pusht-state")
    assert isinstance(base.model, StateModelConfig)
    single = replace(base.model, width=settings.width)
    mixture = replace(single, experts=settings.experts)
    mixture = replace(mixture, width=equal_width(mixture, parameters(single)))
    phases = tuple(replace(phase, batch=max(1, round(settings.batch * phase.batch))) for phase in base.phases)
    common = replace(
        base,
        model=single,
        steps=settings.steps,
        phases=phases,
        validation=settings.validation,
        horizons=(5, 25, 50),
        seed=seed,
    )
    return {
        "single": common,
        "mixture": replace(common, model=mixture),
        "balanced": replace(common, model=mixture, balance=settings.balance),
    }


def parameters(config: StateModelConfig) -> int:
    """Count the parameters of a model."""
    return sum(parameter.numel() for parameter in StateModel(config).parameters())


def equal_width(config: StateModelConfig, most: int) -> int:
    """Return the largest width with which the model has at most this number of parameters."""
    return bisect_right(range(1, 1024), most, key=lambda width: parameters(replace(config, width=width)))


def collected(out: Path, count: tuple[int, int], settings: Settings, seed: int) -> list[Episodes]:
    """Return episodes of the careful and of the wild policy; collect those that are not there."""
    found = []
    for i, policy in enumerate(POLICIES):
        folder, steps = out / "data" / f"{policy}_{seed + i}", settings.episode_steps[i]
        collect("push_t", count[i], folder, steps=steps, seed=seed + i, workers=1, policy=policy, progress=False)
        found.append(read(folder, keys=("state",)))
    return found


def trained(chosen: Recipe, data: Sequence[Episodes], folder: Path) -> dict[str, Any]:
    """Train a model, or finish a training that was interrupted, and return what it took."""
    again = (folder / STATE_FILE).exists()
    done = train(chosen, data, folder, resume=again, progress=False, validate_every=chosen.steps)
    assert isinstance(chosen.model, StateModelConfig)
    return {"parameters": parameters(chosen.model), "width": chosen.model.width, "seconds": round(done.seconds, 1)}


def touched(states: Tensor) -> Tensor:
    """Return whether pusher and block touch (n,) in the states (n, t + 1, 7): they are close, or the block moves."""
    moved = (states[:, 1:, 2:4] - states[:, :1, 2:4]).abs().amax((1, 2)) > 0.01
    return (gap(states) < TOUCHING).any(1) | moved


def open_loop(model: StateModel, data: Sequence[Episodes], settings: Settings) -> dict[str, Any]:
    """Measure the errors of open-loop predictions and the weights of the experts, with and without contact."""
    cells = []
    for policy, part in zip(POLICIES, data, strict=True):
        windows = Windows(part, history=1, future=max(MODEL_STEPS) * model.frameskip, frameskip=1)
        chosen = np.unique(np.linspace(0, len(windows) - 1, settings.windows).round().astype(np.int64))
        batch = to_tensors(windows[chosen], torch.device("cpu"))
        states = batch["state"]
        with torch.no_grad():
            start = model.encode({"state": states[:, :1]})[:, 0]
            path, gates = model.path_and_gates(start, model.model_actions(batch["actions"]))
            errors = push_t_errors(model.decode_state(path), states[:, 1:])
        for steps in MODEL_STEPS:
            last = steps * model.frameskip
            contact = touched(states[:, : last + 1])
            for rows in (contact, ~contact):
                cells.append(
                    {
                        "policy": policy,
                        "contact": rows is contact,
                        "model_steps": steps,
                        "windows": int(rows.sum()),
                        "block_px": summary(errors["block_px"][rows, last - 1]),
                        "angle_deg": summary(errors["angle_deg"][rows, last - 1]),
                        "weights": gates[rows, :last].mean((0, 1)).tolist() if rows.any() else None,
                        "entropy": entropy(gates[rows, :last]),
                    }
                )
    return {"cells": cells}


def summary(errors: Tensor) -> dict[str, float] | None:
    """Return mean, median and 90 % quantile; ``None`` if there are no errors."""
    if not len(errors):
        return None
    found = {"mean": errors.mean(), "median": errors.median(), "p90": errors.quantile(0.9)}
    return {name: round(float(value), 4) for name, value in found.items()}


def entropy(gates: Tensor) -> float | None:
    """Return the mean entropy of weights (..., k), as a share of that of equal weights; 0 for a single expert."""
    if not gates.numel():
        return None
    largest = math.log(gates.shape[-1])
    return float(torch.special.entr(gates).sum(-1).mean()) / largest if largest else 0.0


@functools.cache
def drawn(horizon: int, count: int) -> list[Episode]:
    """Return validation episodes."""
    return episodes(task(TASK, horizon), "validation", count)


def planned(model: StateModel, planner: Planner, horizon: int, settings: Settings) -> dict[str, Any]:
    """Plan validation episodes and execute the plans in the simulator."""
    chosen = drawn(horizon, settings.episodes)
    budget = Budget(transitions=settings.rollouts * horizon // model.frameskip)
    found = evaluate(task(TASK, horizon), model, planner, budget, chosen)
    assert found.success_model is not None
    return {
        "solved": found.success.tolist(),
        "solved_in_the_model": found.success_model.tolist(),
        "processor_seconds": round(found.processor_seconds / len(chosen), 3),
        "transitions": found.plan.transitions,
    }


def model_responses(model: StateModel, where: Probes) -> tuple[Responses, Tensor]:
    """Return where the block is after a model step, its derivatives by the actions, and the weights of the experts."""
    actions = where.actions.float().requires_grad_()
    start = model.encode({"state": where.starts[:, None]})[:, 0]
    path, gates = model.path_and_gates(start, model.model_actions(actions))
    ends = pose_of(model.decode_state(path[:, -1]))
    rows = [torch.autograd.grad(ends[:, i].sum(), actions, retain_graph=True)[0] for i in range(ends.shape[1])]
    jacobian = torch.stack(rows, dim=1).flatten(2) / ACTION_SCALE
    return Responses(ends.detach().double(), jacobian.double()), gates.detach()


def derivatives(model: StateModel, where: Probes, simulator: Responses) -> dict[str, Any]:
    """Compare the derivatives of the model with those of the simulator, by the depth of the contact."""
    found, gates = model_responses(model, where)
    mine, true = found.gradient(where.goals), simulator.gradient(where.goals)
    cosine, moved = torch.cosine_similarity(mine, true), true.norm(dim=-1) > 1e-6
    cells = []
    for i, depth in enumerate(DEPTHS):
        at = where.depth == i
        compared = cosine[at & moved]
        cells.append(
            {
                "depth_px": depth,
                "norm": float(found.jacobian[at].norm(dim=(1, 2)).mean()),
                "simulator_norm": float(simulator.jacobian[at].norm(dim=(1, 2)).mean()),
                "compared": len(compared),
                "cosine": float(compared.mean()) if len(compared) else None,
                "entropy": entropy(gates[at]),
            }
        )
    return {"cells": cells}


def mean(values: Iterable[float | None], digits: int) -> str:
    """Return the mean as text, without the values that are ``None``."""
    kept = [value for value in values if value is not None]
    return f"{sum(kept) / len(kept):.{digits}f}" if kept else "-"


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def cells_of(results: Results, part: str, kind: str, **key: object) -> list[dict[str, Any]]:
    """Return the cells of a part of one kind of model with these values, one for each seed."""
    cells = [cell for row in results.find(part=part, kind=kind) for cell in row["cells"]]
    return [cell for cell in cells if all(cell[name] == value for name, value in key.items())]


def report(results: Results, settings: Settings, kinds: Sequence[str]) -> None:
    """Print all tables: means over the seeds."""
    rows = [(kind, results.find(part="training", kind=kind)) for kind in kinds]
    table(
        "Training",
        ("model", "width", "parameters", "seconds"),
        [(k, r[0]["width"], f"{r[0]['parameters']:,}", mean((one["seconds"] for one in r), 0)) for k, r in rows],
    )
    header = [f"{kind}, {steps} steps" for kind in kinds for steps in MODEL_STEPS]
    for name in ("block_px", "angle_deg"):
        lines = []
        for policy in POLICIES:
            for contact in (True, False):
                at = {"policy": policy, "contact": contact}
                found = [cells_of(results, "open_loop", k, model_steps=s, **at) for k in kinds for s in MODEL_STEPS]
                both = [
                    " / ".join(
                        mean((cell[name] and cell[name][which] for cell in cells), 3) for which in ("mean", "p90")
                    )
                    for cells in found
                ]
                lines.append((policy, "contact" if contact else "no contact", *both))
        table(f"Open-loop error, {name}, mean / 90 % quantile", ("policy", "windows", *header), lines)
    lines = []
    for policy in POLICIES:
        for contact in (True, False):
            line: list[str] = [policy, "contact" if contact else "no contact"]
            for kind in kinds:
                cells = cells_of(results, "open_loop", kind, policy=policy, contact=contact, model_steps=1)
                largest = mean((cell["weights"] and max(cell["weights"]) for cell in cells), 2)
                line += [mean((cell["entropy"] for cell in cells), 2), largest]
            lines.append(line)
    header = [f"{kind}, {name}" for kind in kinds for name in ("entropy", "largest mean weight")]
    table("Gate in windows of one model step", ("policy", "windows", *header), lines)
    lines = []
    for planner in PLANNERS:
        for kind in kinds:
            for horizon in settings.horizons:
                found = results.find(part="planning", kind=kind, planner=planner, horizon=horizon)
                solved = [100 * mean_of(row["solved"]) for row in found]
                inside = [100 * mean_of(row["solved_in_the_model"]) for row in found]
                seconds = mean((row["processor_seconds"] for row in found), 2)
                lines.append((planner, kind, horizon, mean(solved, 0), mean(inside, 0), seconds))
    columns = ("planner", "model", "H", "success in the simulator, %", "in the model, %", "processor s for each plan")
    table("Planning", columns, lines)
    lines = []
    for depth in DEPTHS:
        cells = {kind: cells_of(results, "derivatives", kind, depth_px=depth) for kind in kinds}
        line = [f"{depth:g}", mean((cell["simulator_norm"] for cell in cells[kinds[0]]), 2)]
        for kind in kinds:
            line += [mean((cell[name] for cell in cells[kind]), 2) for name in ("norm", "cosine", "entropy")]
        lines.append(line)
    header = [f"{kind}, {name}" for kind in kinds for name in ("norm", "cosine", "entropy")]
    table("Derivatives at the contact", ("depth, px", "simulator, norm", *header), lines)


def mean_of(flags: Sequence[bool]) -> float:
    """Return the share of the flags that are True."""
    return sum(flags) / len(flags)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure what is not in the results, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/contact_mixture"), help="folder for all files")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test: seconds, and numbers without meaning")
    parser.add_argument("--experts", type=int, help="number of experts")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds of the trainings")
    parser.add_argument("--steps", type=int, help="optimiser steps of a training")
    parser.add_argument("--episodes", type=int, help="validation episodes to plan")
    given = parser.parse_args(arguments)
    names = ("experts", "seeds", "steps", "episodes")
    chosen = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    settings = replace(TINY if given.tiny else Settings(), **chosen)
    settings = replace(settings, seeds=tuple(settings.seeds))

    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    results = Results(given.out / "results.jsonl", settings)
    training = collected(given.out, settings.training, settings, seed=0)
    testing = collected(given.out, settings.testing, settings, seed=100)
    where = probes(settings.probes, seed=0)
    simulator = responses_of(where)
    for seed in settings.seeds:
        for kind, how in recipes(settings, seed).items():
            folder, key = given.out / "models" / f"{kind}_{seed}", {"kind": kind, "seed": seed}
            results.part(partial(trained, how, training, folder), part="training", **key)
            model = StateModel.from_pretrained(folder)
            results.part(partial(open_loop, model, testing, settings), part="open_loop", **key)
            results.part(partial(derivatives, model, where, simulator), part="derivatives", **key)
            for name, planner in PLANNERS.items():
                for horizon in settings.horizons:
                    make = partial(planned, model, planner, horizon, settings)
                    results.part(make, part="planning", **key, planner=name, horizon=horizon)
    report(results, settings, list(recipes(settings, 0)))


if __name__ == "__main__":
    main()
