"""Execute the snapshots of a plan in the simulator, to find when planning first succeeds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grasp_planner.bench.running.open_loop import executable
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.bench.timed_records import Moment
from grasp_planner.core.plans import Plan
from grasp_planner.core.world_model import WorldModel


def replayed(task: Task, episode: Episode, model: WorldModel, plan: Plan, index: int, env: Any) -> list[Moment]:
    """Execute every snapshot of the best plan in the simulator, after planning, so that it takes no planning time.

    Args:
        task: task of the episode.
        episode: the episode that was planned.
        model: the model in which the episode was planned.
        plan: the plan whose snapshots are executed.
        index: index of the episode in the batch.
        env: an environment of the task.
    """
    moments: list[Moment] = []
    before: Tensor | None = None
    for snapshot in plan.trace.snapshots:
        actions = snapshot.actions[index]
        if before is not None and torch.equal(actions, before):
            continue
        before = actions
        moments.append(
            Moment(
                seconds=snapshot.seconds,
                transitions=snapshot.transitions,
                step=snapshot.step,
                cost=float(snapshot.cost[index]),
                success=execute(task, episode, executable(model, actions), env).success_end,
            )
        )
    return moments
