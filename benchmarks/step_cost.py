"""Measure the cost of a planning step compared with the model's own forward and backward pass, as tables and JSON.

python benchmarks/step_cost.py                 the tables of docs/speed.md
python benchmarks/step_cost.py --device cuda   the same on a GPU, with the share of time that is spent in kernels
python benchmarks/step_cost.py --parts steps --models mlp lewm --seconds 60 --most-rows 100000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from step_models import CASES
from step_timing import (
    LIFTED,
    bare,
    bare_rollout,
    beside_plan,
    in_turn,
    kernel_share,
    loop_over_time,
    one_step,
    peak_mib,
    problem,
)

from grasp_planner import CEM, GD, GRASP, Budget, Chunked, Compiled, plan
from grasp_planner.planning.meter import Meter

Row = dict[str, Any]
# Largest number of rows of a timed model call by default; --most-rows sets another number.
MOST_ROWS = {"mlp": 12800, "lewm": 1600, "lewm-3": 400, "dino-wm": 10}
GIB = 2**30


def steps(settings: argparse.Namespace) -> Iterator[Row]:
    """Time a GRASP step of `plan`, the model alone, the same step as a loop over time, and a step of GD."""
    for case, model in _models(settings):
        for batch in case.batches:
            for horizon in case.horizons:
                if batch * horizon > (settings.most_rows or MOST_ROWS[case.name]):
                    continue
                task = problem(model, case, batch, horizon, settings.device)
                makers = {"bare": bare, "loop": loop_over_time, "gd": lambda task, _: one_step(task, GD())}
                works = {name: makers[name](task, model) for name in settings.beside}
                times = beside_plan(task, LIFTED, works, settings.clock, settings.seconds)
                lifted = one_step(task, LIFTED)
                row: Row = {"model": case.name, "b": batch, "T": horizon, "rounds": len(times["step"])}
                row |= {f"{name} ms": times.milliseconds(name) for name in times}
                ratios = [("step", "bare"), ("loop", "step"), ("gd", "step")]
                row |= {f"{x} / {y}": times.ratio(x, y) for x, y in ratios if x in times and y in times}
                row |= {f"{name} MiB": peak_mib(work, model) for name, work in ({"step": lifted} | works).items()}
                if settings.device == "cuda":
                    row["kernels / wall"] = kernel_share(lifted)
                yield row


def samplers(settings: argparse.Namespace) -> Iterator[Row]:
    """Time a CEM step with n samples, compared with plain rollouts of the model on b * n rows."""
    for case, model in _models(settings):
        for batch, horizon in ((1, 10), (1, 25), (8, 25)):
            rows = batch * case.samples * horizon
            if rows > 60 * (settings.most_rows or MOST_ROWS[case.name]) // 20 and case.name != "mlp":
                continue
            task = problem(model, case, batch, horizon, settings.device)
            works = {"bare": bare_rollout(task, model, case.samples)}
            planner = CEM(samples=case.samples, elites=max(1, case.samples // 10))
            times = beside_plan(task, planner, works, settings.clock, settings.seconds)
            row: Row = {"model": case.name, "b": batch, "T": horizon, "n": case.samples, "rounds": len(times["step"])}
            row |= {f"{name} ms": times.milliseconds(name) for name in times}
            row["step / bare"] = times.ratio("step", "bare")
            row |= {"step MiB": peak_mib(one_step(task, planner), model), "bare MiB": peak_mib(works["bare"], model)}
            yield row


def sync(settings: argparse.Namespace) -> Iterator[Row]:
    """Time the share of a default run of GRASP that the serial steps of its syncs take."""
    default = GRASP()
    for case, model in _models(settings, without=("dino-wm",)):
        for horizon in (10, 50):
            task = problem(model, case, 1, horizon, settings.device)
            works = {"lifted": one_step(task, LIFTED), "serial": one_step(task, GD())}
            times = in_turn(works, settings.clock, settings.seconds)
            lifted, serial = (times.milliseconds(name) for name in works)
            cycle = default.sync_every * lifted + default.sync_steps * serial
            yield {
                "model": case.name,
                "T": horizon,
                "lifted ms": lifted,
                "serial ms": serial,
                "K": default.sync_every,
                "J": default.sync_steps,
                "share of syncs": default.sync_steps * serial / cycle,
            }


def solved(settings: argparse.Namespace) -> Iterator[Row]:
    """Time a step of a batch in which some problems are solved, as a share of a step without solved problems."""
    for case, model in _models(settings, without=("dino-wm",)):
        batch = 64 if case.name == "mlp" else 8
        task = problem(model, case, batch, 25, settings.device)
        for name, planner in (("grasp", LIFTED), ("gd", GD())):
            works = {}
            for eighths in (0, 4, 7):
                meter = Meter(task.dynamics)
                if eighths:
                    meter.answer_only(torch.arange(batch, device=settings.device) >= batch * eighths // 8)
                works[f"{eighths}/8"] = one_step(task.through(meter), planner)
            times = in_turn(works, settings.clock, settings.seconds)
            row: Row = {"model": case.name, "planner": name, "b": batch, "T": 25}
            row["none solved, ms"] = times.milliseconds("0/8")
            yield row | {f"{part} solved": times.ratio(part, "0/8") for part in ("4/8", "7/8")}


def compiled(settings: argparse.Namespace) -> Iterator[Row]:
    """Time steps in a model, and in the same model compiled."""
    for case, model in _models(settings, without=("lewm-3", "dino-wm")):
        fast = Compiled(model)
        task = problem(model, case, 1, 50, settings.device)
        before = time.perf_counter()
        fast.warm_up(task.states, task.states.new_zeros(1, task.context, task.action_size))
        seconds = time.perf_counter() - before
        for batch, horizon in ((1, 50), (8, 50)):
            if batch * horizon > (settings.most_rows or MOST_ROWS[case.name]):
                continue
            task = problem(model, case, batch, horizon, settings.device)
            works = {
                f"{kind} {name}": one_step(task.through(dynamics), planner)
                for name, planner in (("GRASP", LIFTED), ("GD", GD()))
                for kind, dynamics in (("eager", model), ("compiled", fast))
            }
            times = in_turn(works, settings.clock, settings.seconds)
            row: Row = {"model": case.name, "b": batch, "T": horizon, "compile s": seconds}
            row |= {f"{name} ms": times.milliseconds(name) for name in times}
            row |= {f"gain, {name}": times.ratio(f"eager {name}", f"compiled {name}") for name in ("GRASP", "GD")}
            yield row


def memory(settings: argparse.Namespace) -> Iterator[Row]:
    """Measure the peak memory of a problem of DINO-WM's size at T = 100, in a separate process or on the GPU."""
    for name, limit in (("dino-wm", 1.0),):
        command = [sys.executable, __file__, "--one-plan", name, "--limit", str(limit), "--device", settings.device]
        done = subprocess.run([*command, "--threads", str(settings.threads)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        yield json.loads(done.stdout.splitlines()[-1])


def one_plan(settings: argparse.Namespace) -> Row:
    """Time a lifted step and a sync at T = 100 with bounded memory, and measure the peak memory of this process."""
    case = CASES[settings.one_plan]
    model = case.model().to(settings.device)
    task = problem(model, case, 1, 100, settings.device)
    bounded = task.through(Chunked(model, memory=int(settings.limit * GIB)))
    started = time.perf_counter()
    # Three steps: one lifted step, one serial step, and the rollout that ends the sync.
    found = plan(bounded, GRASP(sync_every=1, sync_steps=1), Budget(steps=3))
    on_device = torch.cuda.max_memory_allocated() if settings.device == "cuda" else 0
    peak = on_device / GIB or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "model": case.name,
        "T": task.horizon,
        "limit GiB": settings.limit,
        "peak of the process GiB": peak,
        "seconds": time.perf_counter() - started,
        "transitions": found.transitions,
    }


PARTS = {"steps": steps, "samplers": samplers, "sync": sync, "solved": solved, "compiled": compiled, "memory": memory}


def _models(settings: argparse.Namespace, without: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for name in settings.models:
        if name not in without:
            yield CASES[name], CASES[name].model().to(settings.device)


def growth(rows: list[Row]) -> Iterator[Row]:
    """Return how much a step of GRASP and a step of GD grow from T = 10 to T = 100, with one problem."""
    for name in dict.fromkeys(row["model"] for row in rows):
        ends = [row for t in (10, 100) for row in rows if (row["model"], row["b"], row["T"]) == (name, 1, t)]
        if len(ends) == 2:
            short, long = ends
            yield {"model": name} | {
                f"{key.removesuffix(' ms')}, T 10 to 100": long[key] / short[key]
                for key in short
                if key.endswith(" ms")
            }


def machine(settings: argparse.Namespace) -> Row:
    """Describe the machine and the software of the measurement."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [x.split(":")[1].strip() for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        if cpuinfo.exists()
        else [platform.processor()]
    )
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "clock": "processor time of the process" if settings.own_time else "wall-clock",
        "device": torch.cuda.get_device_name() if settings.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load before": round(os.getloadavg()[0], 1),
    }


def _cell(value: object) -> str:
    return str(value) if not isinstance(value, float) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Measure one part after another, and print one row per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row, beyond the fewest rounds")
    parser.add_argument("--most-rows", type=int, default=None, help="the largest b * t; default: by model")
    parser.add_argument("--out", type=Path, default=Path("out/step_cost.json"))
    parser.add_argument("--one-plan", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--beside", nargs="+", default=["bare", "loop", "gd"], choices=["bare", "loop", "gd"])
    parser.add_argument("--own-time", action="store_true", help="processor time, where others use the machine too")
    settings = parser.parse_args()
    settings.clock = "processor" if settings.own_time else settings.device
    torch.set_num_threads(settings.threads)
    if settings.one_plan:
        print(json.dumps(one_plan(settings)))
        return
    found: dict[str, Any] = {"machine": machine(settings)}
    started = time.perf_counter()
    print(", ".join(f"{key} {value}" for key, value in found["machine"].items()))
    for name in settings.parts:
        print(f"\n{PARTS[name].__doc__}\n")
        found[name] = _printed(PARTS[name](settings))
        if name == "steps":
            print()
            found["growth"] = _printed(growth(found[name]))
    found["machine"] |= {"load after": round(os.getloadavg()[0], 1), "seconds": time.perf_counter() - started}
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(found, indent=1))
    print(f"\n{found['machine']['seconds']:.0f} s, load {found['machine']['load after']} at the end; {settings.out}")


def _printed(rows: Iterator[Row]) -> list[Row]:
    """Print each row as soon as it is measured, and return the rows."""
    seen: list[Row] = []
    for row in rows:
        if not seen:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        print("| " + " | ".join(map(_cell, row.values())) + " |", flush=True)
        seen.append(row)
    return seen


if __name__ == "__main__":
    main()
