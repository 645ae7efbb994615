"""Closed loop: plan, execute some steps, observe, and plan again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grasp_planner.bench.running.observing import model_steps, observe, stacked
from grasp_planner.bench.running.simulation import Outcome, outcome_of
from grasp_planner.bench.running.task_models import check_actions
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.control.agent import Agent
from grasp_planner.core.objectives import Objective
from grasp_planner.core.plans import Budget, Plan
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planning.protocol import Planner


@dataclass(frozen=True, eq=False)
class Drive:
    """The result of driving some episodes.

    Attributes:
        outcomes: one per episode.
        plans: all plans in order; each plan covers all episodes.
        planned_at: number of environment steps before each plan.
    """

    outcomes: tuple[Outcome, ...]
    plans: tuple[Plan, ...]
    planned_at: tuple[int, ...]

    def seconds_until(self, step: int) -> float:
        """Return the seconds of planning for the first ``step`` environment steps."""
        return sum(plan.seconds for plan, at in zip(self.plans, self.planned_at, strict=True) if at < step)


def drive(
    task: Task,
    model: WorldModel,
    planner: Planner,
    budget: Budget,
    episodes: Sequence[Episode],
    *,
    execute: int = 1,
    duration: int = 2,
    pixels: int | None = None,
    seed: int = 0,
    objective: Objective | None = None,
) -> Drive:
    """Run an agent on several episodes in parallel. Every plan covers ``task.horizon`` environment steps.

    Args:
        task: task of the episodes; its horizon (environment steps) is the horizon of every plan.
        model: the world model in which plans are made.
        planner: one of ``PLANNERS``.
        budget: budget of every plan.
        episodes: episodes of the task.
        execute: model steps of a plan that are executed before the next plan is made.
        duration: length of an episode, as a multiple of the horizon.
        pixels: side of the pictures that the model reads; ``None`` if it reads no pictures.
        seed: number that is added to the seeds of the episodes.
        objective: objective of every plan; ``None``: the default of ``Agent``.

    Raises:
        GraspPlannerError: the horizon is not a whole number of model steps, or a setting is out of range.
    """
    check_actions(task, model)
    horizon = model_steps(model, task.horizon)
    envs = [task.make(pixels=pixels) for _ in episodes]
    observations, goals = zip(*map(observe, envs, episodes), strict=True)
    agent = Agent(
        model,
        planner,
        budget,
        execute,
        horizon=horizon,
        seeds=[episode.seed + seed for episode in episodes],
        batch=len(episodes),
        objective=objective,
    )
    goal = stacked(goals)
    paths = [[seen["state"]] for seen in observations]
    plans: list[Plan] = []
    planned_at: list[int] = []
    for step in range(0, duration * task.horizon, model.frameskip):
        blocks = agent.act(stacked(observations), goal).astype(np.float64)
        if agent.plan is not None and (not plans or agent.plan is not plans[-1]):
            plans.append(agent.plan)
            planned_at.append(step)
        latest = []
        for env, path, block in zip(envs, paths, blocks, strict=True):
            for action in block:
                observation = env.step(action)[0]
                path.append(observation["state"])
            latest.append(observation)
        observations = tuple(latest)
    outcomes = tuple(outcome_of(task, one, np.array(path)) for one, path in zip(episodes, paths, strict=True))
    return Drive(outcomes, tuple(plans), tuple(planned_at))
