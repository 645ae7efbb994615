"""Jobs: pieces of a suite's work that any process on any machine can do, given the same package and models."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from grasp_planner.bench.records import CLOCK, SCHEMA, Key, Record, key, versions
from grasp_planner.bench.running.closed_loop import Drive, drive
from grasp_planner.bench.running.model_gaps import LastIterate, replayed, simulator_gap, together, virtual_gap
from grasp_planner.bench.running.open_loop import described, evaluate
from grasp_planner.bench.running.planning_frames import Recorder, Recording
from grasp_planner.bench.running.simulation import Outcome
from grasp_planner.bench.suites.spaces import planner_of
from grasp_planner.bench.suites.suite import Mode
from grasp_planner.bench.tasks import Episode, Task, episodes, task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget, Status
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.registry import ANALYTIC, checkpoints, load_world_model
from grasp_planner.planners import PLANNERS
from grasp_planner.planning.protocol import Planner

FRAMES = 36  # moments of planning that a recording keeps, about
WARM_UP = Budget(steps=2, seconds=0.5)

Kind = Literal["sweep", "episode", "timed", "shown"]


@dataclass(frozen=True)
class Job:
    """Plan some episodes of a task with some settings, and measure.

    Args:
        kind: what is measured and recorded.
        suite: its name.
        arm: name of the planner's row.
        task: of ``bench.tasks.TASKS``.
        horizon: environment steps.
        model: as ``load_world_model`` takes it.
        model_hash: of ``model_digest``, when the run began.
        pixels: side of the pictures that the model reads.
        split: of the episodes.
        numbers: of the episodes.
        settings: the planner, as JSON values.
        rollouts: budget, in units of the horizon.
        seconds: budget; 0: none.
        mode: open or closed loop.
        execute: of the closed loop.
        duration: of the closed loop.
        tried: round and trial, of a sweep.
    """

    kind: Kind
    suite: str
    arm: str
    task: str
    horizon: int
    model: str
    model_hash: str
    pixels: int | None
    split: str
    numbers: tuple[int, ...]
    settings: Mapping[str, Any]
    rollouts: int
    seconds: float
    mode: Mode
    execute: int
    duration: int
    tried: tuple[int, int] = (0, 0)

    def keys(self) -> list[Key]:
        """Keys of the records that come of it."""
        head = {"kind": self.kind, **self._cell()}
        if self.kind == "sweep":
            return [key(head | {"round": self.tried[0], "trial": self.tried[1]})]
        return [key(head | {"episode": number}) for number in self.numbers]

    def head(self) -> Record:
        """What every record of it says."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "suite": self.suite,
            **self._cell(),
            "model_hash": self.model_hash,
            "mode": self.mode,
            "split": self.split,
            "rollouts": self.rollouts,
            "planner": dict(self.settings),
        }

    def _cell(self) -> Record:
        return {"task": self.task, "horizon": self.horizon, "model": self.model, "arm": self.arm}


def run_job(job: Job) -> list[Record]:
    """Do it: its records, the same wherever it is done, but for the clock.

    Raises:
        GraspPlannerError: the model here is not the one that the run began with, or does not fit the task.
    """
    torch.set_num_threads(1)
    model = _model(job.model, job.model_hash)
    problem = task(job.task, job.horizon)
    asked = [_episode(job.task, job.horizon, job.split, number) for number in job.numbers]
    planner = planner_of(job.settings)
    work = {"sweep": _sweep, "episode": _measured, "timed": _timed, "shown": _shown}[job.kind]
    return work(job, problem, model, planner, asked)


def model_digest(name_or_path: str) -> str:
    """Sixteen hexadecimal digits that stand for a model: its configuration and weights.

    Raises:
        GraspPlannerError: there is no such model here; names it and those that there are.

    >>> len(model_digest("pusht-state"))
    16
    """
    if name_or_path in ANALYTIC:
        return hashlib.sha256(f"analytic/{name_or_path}".encode()).hexdigest()[:16]
    check_models([name_or_path])
    folder = checkpoints().get(name_or_path, Path(name_or_path))
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".pth", ".tar", ".yaml") and path.name != "training.json":
            total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def check_models(names: Iterable[str]) -> None:
    """Raise unless all models are here.

    Raises:
        GraspPlannerError: names those that are missing, and those that there are.
    """
    packaged = checkpoints()
    missing = [name for name in dict.fromkeys(names) if name not in {*ANALYTIC, *packaged} and not Path(name).is_dir()]
    if missing:
        named = ", ".join(map(repr, missing))
        raise GraspPlannerError(
            f"the suite needs the model{'s' if len(missing) > 1 else ''} {named}, not here: train (`grasp train`), "
            "name the folder of one in a suite of your own, or leave cells out with --models and those to keep. "
            f"Here are {', '.join([*packaged, *ANALYTIC])}"
        )


def transitions(job: Job, model: WorldModel) -> int:
    """The budget in model transitions for each episode."""
    return job.rollouts * (job.horizon // model.frameskip)


@lru_cache(maxsize=8)
def _model(name: str, digest: str) -> WorldModel:
    if model_digest(name) != digest:
        raise GraspPlannerError(f"the model {name!r} has changed since this run began: begin another with --out")
    return load_world_model(name)


@lru_cache(maxsize=10_000)
def _episode(name: str, horizon: int, split: str, number: int) -> Episode:
    return episodes(task(name, horizon), split, 1, number)[0]


def _budget(job: Job, model: WorldModel) -> Budget:
    """By transitions, as it was tuned; against the clock by the clock alone."""
    return Budget(seconds=job.seconds) if job.seconds else Budget(transitions=transitions(job, model))


def _drive(job: Job, problem: Task, model: WorldModel, planner: Planner, asked: Sequence[Episode]) -> Drive:
    settings = {"execute": job.execute, "duration": job.duration, "pixels": job.pixels}
    return drive(problem, model, planner, _budget(job, model), asked, **settings)


def _sweep(job: Job, problem: Task, model: WorldModel, planner: Planner, asked: Sequence[Episode]) -> list[Record]:
    began = time.perf_counter()
    if job.mode == "closed-loop":
        driven = _drive(job, problem, model, planner, asked)
        success = [outcome.success_any for outcome in driven.outcomes]
        cost, spent = driven.plans[-1].cost, sum(plan.transitions for plan in driven.plans)
    else:
        found = evaluate(problem, model, planner, _budget(job, model), asked, pixels=job.pixels)
        success, cost, spent = found.success.tolist(), found.plan.cost, found.plan.transitions
    return [
        job.head()
        | {"round": job.tried[0], "trial": job.tried[1], "episodes": list(job.numbers), "success": success}
        | {"cost": cost.tolist(), "transitions": spent, **_clock(time.perf_counter() - began, len(asked))}
    ]


def _measured(job: Job, problem: Task, model: WorldModel, planner: Planner, asked: Sequence[Episode]) -> list[Record]:
    if job.mode == "closed-loop":
        return _driven(job, problem, model, planner, asked)
    last = LastIterate()
    found = evaluate(problem, model, planner, _budget(job, model), asked, pixels=job.pixels, callback=last)
    env = problem.make(pixels=job.pixels)
    virtual = virtual_gap(planner, last, model) or [None] * len(asked)
    simulated = simulator_gap(model, env, found.plan, found.outcomes)
    apart = None if found.imagined is None else problem.distances(found.imagined[:, -1], _ends(found.outcomes))
    return [
        job.head()
        | record
        | {
            "planner": whole(planner),
            "steps": found.plan.steps,
            "transitions": found.plan.transitions,
            "calls": found.plan.calls,
            "gap_virtual_rollout": virtual[i],
            "gap_rollout_simulator": simulated[i],
            "gap_end": None if apart is None else {name: float(value[i]) for name, value in apart.items()},
            "versions": versions(),
            **_clock(found.plan.seconds, len(asked)),
        }
        for i, record in enumerate(found.records())
    ]


def _driven(job: Job, problem: Task, model: WorldModel, planner: Planner, asked: Sequence[Episode]) -> list[Record]:
    driven = _drive(job, problem, model, planner, asked)
    seconds = sum(plan.seconds for plan in driven.plans)
    return [
        job.head()
        | {
            "planner": whole(planner),
            **_outcome(episode, outcome),
            "cost": float(driven.plans[-1].cost[i]),
            "status": Status(int(driven.plans[-1].status[i])).name,
            "plans": len(driven.plans),
            "steps": sum(plan.steps for plan in driven.plans),
            "transitions": sum(plan.transitions for plan in driven.plans),
            "calls": sum(plan.calls for plan in driven.plans),
            "versions": versions(),
            **_clock(seconds, len(asked)),
        }
        for i, (episode, outcome) in enumerate(zip(asked, driven.outcomes, strict=True))
    ]


def _timed(job: Job, problem: Task, model: WorldModel, planner: Planner, asked: Sequence[Episode]) -> list[Record]:
    records = []
    for episode in asked:
        evaluate(problem, model, planner, WARM_UP, [episode], pixels=job.pixels)
        head = job.head() | {"planner": whole(planner), "episode": episode.index, "versions": versions()}
        if job.mode == "closed-loop":
            driven = _drive(job, problem, model, planner, [episode])
            (outcome,) = driven.outcomes
            step = outcome.success_step
            first = None if step is None else driven.seconds_until(step)
            seconds, moments = sum(plan.seconds for plan in driven.plans), []
        else:
            found = evaluate(problem, model, planner, _budget(job, model), [episode], pixels=job.pixels)
            env = problem.make(pixels=job.pixels)
            (outcome,), seconds = found.outcomes, found.plan.seconds
            moments = replayed(problem, episode, model, found.plan, 0, env)
            first = next((moment["seconds"] for moment in moments if moment["success"]), None)
        # With a limit on seconds, whether and when it succeeds depends on the machine.
        clock = {"seconds_to_success": first, "moments": moments, "success": outcome.success_end}
        record = _clock(seconds, 1)
        record[CLOCK] |= clock | {"reached": outcome.success_any}
        records.append(head | {"seconds_limit": job.seconds} | record)
    return records


def _shown(job: Job, problem: Task, model: WorldModel, planner: Planner, asked: Sequence[Episode]) -> list[Record]:
    recorders = [Recorder(planner, i, frames=FRAMES // 2) for i in range(len(asked))]
    found = evaluate(
        problem, model, planner, _budget(job, model), asked, pixels=job.pixels, callback=together(*recorders)
    )
    records = []
    for recorder, episode, outcome in zip(recorders, asked, found.outcomes, strict=True):
        recording = recorder.recording(found, model)
        drawn = None if recording is None else _pictured(recording)
        content = {"env": problem.env, "frameskip": model.frameskip, "executed": _short(outcome.states)}
        content |= {"goal": _short(episode.goal), "recording": drawn, **_outcome(episode, outcome)}
        records.append(job.head() | {"planner": whole(planner)} | content)
    return records


def _pictured(recording: Recording) -> Record:
    cost = np.asarray(recording.best_cost, dtype=float)
    at = np.minimum(recording.steps, len(cost) - 1)
    return {
        "steps": recording.steps.tolist(),
        "rollouts": _short(recording.rollouts),
        "virtual": None if recording.virtual is None else _short(recording.virtual),
        "best_cost": [float(value) for value in cost[at]],
    }


def _outcome(episode: Episode, outcome: Outcome) -> Record:
    return {
        "episode": episode.index,
        "seed": episode.seed,
        "success": outcome.success_end,
        "reached": outcome.success_any,
        "success_step": outcome.success_step,
        "start_distances": {name: float(value[0]) for name, value in outcome.distances.items()},
        "distances": {name: float(value[-1]) for name, value in outcome.distances.items()},
    }


def _ends(outcomes: Sequence[Outcome]) -> np.ndarray:
    return np.stack([outcome.states[-1] for outcome in outcomes])


def _short(numbers: np.ndarray) -> list[Any]:
    """For pictures: four decimals are more than anyone sees, and these are most of a report's size."""
    return np.round(np.asarray(numbers, dtype=float), 4).tolist()


def whole(planner: Planner) -> Record:
    """All settings of a planner, defaults too."""
    name = next(name for name, cls in PLANNERS.items() if type(planner) is cls)
    return {"name": name, **described(planner)}


def _clock(seconds: float, batch: int) -> Record:
    return {CLOCK: {"seconds": seconds, "batch": batch, "machine": platform.machine(), "at": round(time.time())}}
