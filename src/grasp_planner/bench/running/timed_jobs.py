"""Timed jobs: plan few episodes at a time with a budget in seconds, and find when planning first succeeds."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from grasp_planner.bench.machine_load import Load
from grasp_planner.bench.records import versions
from grasp_planner.bench.running.job_setup import Setup
from grasp_planner.bench.running.open_loop import decoded, executable
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.running.snapshot_replay import replayed
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.bench.timed_records import Moment, TimedClock, TimedRecord, TimedSweepRecord, TrialClock
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planning.protocol import Progress

WARM_UP = Budget(steps=2, seconds=0.5)


def timed_episodes(setup: Setup) -> list[TimedRecord]:
    """Plan the episodes of a job together, and return a record for each of them."""
    asked = setup.episodes
    setup.plan(asked, budget=WARM_UP)
    load = Load()
    moments: list[list[Moment]]
    if setup.job.work.mode == "closed-loop":
        driven = setup.drive(asked)
        outcomes, seconds = driven.outcomes, sum(plan.seconds for plan in driven.plans)
        firsts = [None if one.success_step is None else driven.seconds_until(one.success_step) for one in outcomes]
        moments, others = [[] for _ in asked], load.others()
    else:
        found = setup.plan(asked)
        outcomes, seconds, others = found.outcomes, found.plan.seconds, load.others()
        env = setup.task.make()
        moments = [replayed(setup.task, one, setup.model, found.plan, i, env) for i, one in enumerate(asked)]
        firsts = [first_success(plans) for plans in moments]
    records = []
    for episode, outcome, first, plans in zip(asked, outcomes, firsts, moments, strict=True):
        clock = TimedClock(
            seconds=seconds,
            batch=len(asked),
            machine=platform.machine(),
            at=round(time.time()),
            seconds_to_success=first,
            moments=tuple(plans),
            success=outcome.success_end,
            reached=outcome.success_any,
            others=others,
        )
        records.append(TimedRecord(setup.work, episode.index, setup.job.seconds, versions(), clock))
    return records


def timed_sweep(setup: Setup) -> TimedSweepRecord:
    """Plan validation episodes, each until its first success, and return the record of the trial."""
    job, asked = setup.job, setup.episodes
    batches = [asked[first : first + job.batch] for first in range(0, len(asked), job.batch)]
    setup.plan(batches[0], budget=WARM_UP)
    load = Load()
    firsts: list[float | None] = []
    costs: list[float | None] = []
    seconds = 0.0
    env = setup.task.make()
    for batch in batches:
        stop = StopAtSuccess(setup.task, setup.model, batch, env)
        found = setup.plan(batch, stop)
        seconds += found.plan.seconds
        costs += found.plan.cost.tolist()
        for i, episode in enumerate(batch):
            first = stop.firsts[i]
            if first is None:  # the model's rollout never was at the goal, but the simulator may have been
                first = first_success(replayed(setup.task, episode, setup.model, found.plan, i, env))
            firsts.append(first)
    clock = TrialClock(
        seconds=seconds,
        batch=job.batch,
        machine=platform.machine(),
        at=round(time.time()),
        seconds_to_success=tuple(firsts),
        cost=tuple(costs),
        others=load.others(),
    )
    return TimedSweepRecord(job.work, job.round, job.trial, job.numbers, job.seconds, clock)


def refused_timed_sweep(setup: Setup) -> TimedSweepRecord:
    """Return the record of a trial whose setting does not allow problems of this size."""
    job, unknown = setup.job, (None,) * len(setup.job.numbers)
    clock = TrialClock(0.0, job.batch, platform.machine(), round(time.time()), unknown, unknown)
    return TimedSweepRecord(job.work, job.round, job.trial, job.numbers, job.seconds, clock)


class StopAtSuccess:
    """A callback that ends planning when the best plans of all episodes have succeeded in the simulator.

    A plan is executed in the simulator only if its rollout in the model ends at the goal, so the checks take little of
    the planning time. Nothing is stopped in models that do not decode states. The planner does not see the outcome.

    Attributes:
        firsts: seconds of planning until the first success of each episode; ``None``: no success so far.
    """

    def __init__(self, task: Task, model: WorldModel, episodes: Sequence[Episode], env: Any) -> None:
        self._task, self._model, self._episodes, self._env = task, model, episodes, env
        self._goals = np.stack([episode.goal for episode in episodes])
        self._tried = torch.full((len(episodes),), torch.inf)  # the cost of the plan that was executed last
        self.firsts: list[float | None] = [None] * len(episodes)

    def __call__(self, progress: Progress) -> bool:
        """Return whether all episodes have succeeded."""
        ends = decoded(self._model, progress.best.states[:, -1])
        if ends is None:
            return False
        for i in np.flatnonzero(self._task.success(ends, self._goals)).tolist():
            if self.firsts[i] is None and progress.best.cost[i] != self._tried[i]:
                self._tried[i] = progress.best.cost[i]
                actions = executable(self._model, progress.best.actions[i])
                if execute(self._task, self._episodes[i], actions, self._env).success_end:
                    self.firsts[i] = progress.seconds
        return None not in self.firsts


def first_success(moments: Sequence[Moment]) -> float | None:
    """Return the seconds of the first plan that succeeds; ``None`` if no plan succeeds."""
    return next((moment.seconds for moment in moments if moment.success), None)
