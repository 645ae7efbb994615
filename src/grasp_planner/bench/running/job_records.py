"""Run a job: plan its episodes, measure the results, and make the records."""

from __future__ import annotations

import math
import platform
import time
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from grasp_planner.bench.records import Clock, EpisodeRecord, PlannedMoments, Record, ShownRecord, SweepRecord, versions
from grasp_planner.bench.running.job_setup import Setup
from grasp_planner.bench.running.jobs import Job
from grasp_planner.bench.running.model_gaps import LastVirtualStates, simulator_gap, virtual_gap
from grasp_planner.bench.running.model_hash import model_hash
from grasp_planner.bench.running.planning_frames import Recorder, Recording
from grasp_planner.bench.running.simulation import Outcome
from grasp_planner.bench.running.timed_jobs import refused_timed_sweep, timed_episodes, timed_sweep
from grasp_planner.bench.tasks import Episode, episodes, task
from grasp_planner.control.planner_files import planner_of
from grasp_planner.core.errors import GraspPlannerError, TooLargeError
from grasp_planner.core.plans import Status
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.registry import load_world_model
from grasp_planner.planning.protocol import Progress

FRAMES = 36  # approximate number of moments of planning that a recording keeps


def run_job(job: Job) -> list[Record]:
    """Run a job. Its records are the same on every machine, except for their clocks.

    A trial of a setting that does not allow problems of this size fails in all episodes.

    Raises:
        GraspPlannerError: the model has changed since the run began, or does not fit the task.
    """
    torch.set_num_threads(1)
    work = job.work
    asked = [_episode(work.task, work.horizon, work.split, number) for number in job.numbers]
    model = _model(work.model, work.model_hash)
    setup = Setup(job, task(work.task, work.horizon), model, planner_of(work.planner), asked)
    closed = work.mode == "closed-loop"
    if job.kind in ("sweep", "timed_sweep"):
        sweep, refused = (_sweep, _refused_sweep) if job.kind == "sweep" else (timed_sweep, refused_timed_sweep)
        try:
            return [sweep(setup)]
        except TooLargeError:
            return [refused(setup)]
    if job.kind == "episode":
        return [*(_closed_loop_episodes(setup) if closed else _open_loop_episodes(setup))]
    if job.kind == "timed":
        return [*timed_episodes(setup)]
    return [*_shown(setup)]


@lru_cache(maxsize=8)
def _model(name: str, digest: str) -> WorldModel:
    if model_hash(name) != digest:
        raise GraspPlannerError(f"the model {name!r} has changed since this run began: begin another with --out")
    return load_world_model(name)


@lru_cache(maxsize=10_000)
def _episode(name: str, horizon: int, split: str, number: int) -> Episode:
    return episodes(task(name, horizon), split, 1, number)[0]


def _sweep(setup: Setup) -> SweepRecord:
    began, processor = time.perf_counter(), None
    if setup.job.work.mode == "closed-loop":
        driven = setup.drive(setup.episodes)
        success = [outcome.success_any for outcome in driven.outcomes]
        cost, spent = driven.plans[-1].cost, sum(plan.transitions for plan in driven.plans)
    else:
        found = setup.plan(setup.episodes)
        success, cost, spent = found.success.tolist(), found.plan.cost, found.plan.transitions
        processor = found.processor_seconds
    return SweepRecord(
        work=setup.job.work,
        round=setup.job.round,
        trial=setup.job.trial,
        episodes=setup.job.numbers,
        success=tuple(success),
        cost=tuple(cost.tolist()),
        transitions=spent,
        clock=_clock(time.perf_counter() - began, len(setup.episodes), processor),
    )


def _refused_sweep(setup: Setup) -> SweepRecord:
    """Return the record of a trial whose setting does not allow problems of this size."""
    job, count = setup.job, len(setup.job.numbers)
    failed, unknown = (False,) * count, (None,) * count
    return SweepRecord(job.work, job.round, job.trial, job.numbers, failed, unknown, 0, _clock(0.0, count))


def _open_loop_episodes(setup: Setup) -> list[EpisodeRecord]:
    last = LastVirtualStates()
    found = setup.plan(setup.episodes, last)
    env = setup.task.make(pixels=setup.job.pixels)
    virtual = virtual_gap(setup.planner, last, setup.model) or [None] * len(setup.episodes)
    simulated = simulator_gap(setup.model, env, found.plan, found.outcomes)
    ends = np.stack([outcome.states[-1] for outcome in found.outcomes])
    apart = None if found.imagined is None else setup.task.distances(found.imagined[:, -1], ends)
    success, distances = found.success_model, found.distances_model
    return [
        EpisodeRecord(
            work=setup.work,
            **_outcome(episode, outcome),
            cost=float(found.plan.cost[i]),
            status=Status(int(found.plan.status[i])).name,
            steps=found.plan.steps,
            transitions=found.plan.transitions,
            calls=found.plan.calls,
            versions=versions(),
            clock=_clock(found.plan.seconds, len(setup.episodes), found.processor_seconds),
            success_model=None if success is None else bool(success[i]),
            distances_model=None if distances is None else _row(distances, i),
            gap_virtual_rollout=virtual[i],
            gap_rollout_simulator=simulated[i],
            gap_end=None if apart is None else _row(apart, i),
        )
        for i, (episode, outcome) in enumerate(zip(setup.episodes, found.outcomes, strict=True))
    ]


def _closed_loop_episodes(setup: Setup) -> list[EpisodeRecord]:
    driven = setup.drive(setup.episodes)
    plans = driven.plans
    return [
        EpisodeRecord(
            work=setup.work,
            **_outcome(episode, outcome),
            cost=float(plans[-1].cost[i]),
            status=Status(int(plans[-1].status[i])).name,
            steps=sum(plan.steps for plan in plans),
            transitions=sum(plan.transitions for plan in plans),
            calls=sum(plan.calls for plan in plans),
            versions=versions(),
            clock=_clock(sum(plan.seconds for plan in plans), len(setup.episodes)),
            plans=len(plans),
        )
        for i, (episode, outcome) in enumerate(zip(setup.episodes, driven.outcomes, strict=True))
    ]


def _shown(setup: Setup) -> list[ShownRecord]:
    recorders = [Recorder(setup.planner, i, frames=FRAMES // 2) for i in range(len(setup.episodes))]

    def callback(progress: Progress) -> None:
        for recorder in recorders:
            recorder(progress)

    found = setup.plan(setup.episodes, callback)
    records = []
    for recorder, episode, outcome in zip(recorders, setup.episodes, found.outcomes, strict=True):
        recording = recorder.recording(found, setup.model)
        records.append(
            ShownRecord(
                work=setup.work,
                episode=episode.index,
                success=outcome.success_end,
                distances=_row(outcome.distances, -1),
                env=setup.task.scene,
                frameskip=setup.model.frameskip,
                executed=_short(outcome.states),
                goal=_short(episode.goal),
                recording=None if recording is None else _moments(recording),
            )
        )
    return records


def _moments(recording: Recording) -> PlannedMoments:
    cost = np.asarray(recording.best_cost, dtype=float)
    at = np.minimum(recording.steps, len(cost) - 1)
    return PlannedMoments(
        steps=tuple(recording.steps.tolist()),
        rollouts=_short(recording.rollouts),
        virtual=None if recording.virtual is None else _short(recording.virtual),
        best_cost=tuple(float(value) if math.isfinite(value) else None for value in cost[at]),
    )


def _outcome(episode: Episode, outcome: Outcome) -> dict[str, Any]:
    return {
        "episode": episode.index,
        "seed": episode.seed,
        "success": outcome.success_end,
        "reached": outcome.success_any,
        "success_step": outcome.success_step,
        "start_distances": _row(outcome.distances, 0),
        "distances": _row(outcome.distances, -1),
    }


def _row(values: dict[str, np.ndarray], i: int) -> dict[str, float | None]:
    return {name: float(value[i]) for name, value in values.items()}


def _short(numbers: np.ndarray) -> list[Any]:
    """Round numbers to four decimals, which suffice for pictures and keep reports small."""
    return np.round(np.asarray(numbers, dtype=float), 4).tolist()


def _clock(seconds: float, batch: int, processor_seconds: float | None = None) -> Clock:
    at = round(time.time())
    return Clock(seconds, batch, platform.machine(), at, processor_seconds=processor_seconds)
