"""Make planning problems from episodes, whose starts and goals are observed in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grasp_planner.bench.running.task_models import check_actions, misfit
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import Objective
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import WorldModel

Observation = dict[str, np.ndarray]
"""The observation of an environment at one moment: arrays by key, without batch or time axes."""


def observe(env: Any, episode: Episode) -> tuple[Observation, Observation]:
    """Reset an environment to the start of an episode.

    Returns:
        The observation at the start, and the observation at the goal.
    """
    seen, _ = env.reset(seed=episode.seed, options={"state": episode.start, "goal": episode.goal})
    world = env.unwrapped  # a task with noise is in a wrapper
    wanted = {"state": episode.goal, "proprio": world.proprio_of(episode.goal)}
    if "pixels" in seen:
        wanted["pixels"] = world.picture(episode.goal, seen["pixels"].shape[0])
    return seen, wanted


def stacked(moments: Sequence[Mapping[str, np.ndarray]]) -> Observation:
    """Stack the observations of b episodes to arrays (b, ...)."""
    return {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}


def model_steps(model: WorldModel, horizon: int) -> int:
    """Convert a horizon from environment steps to model steps.

    Args:
        model: a world model, whose ``frameskip`` is the number of environment steps per model step.
        horizon: horizon in environment steps.

    Raises:
        GraspPlannerError: the horizon is not a whole number of model steps.
    """
    if horizon < 1 or horizon % model.frameskip:
        raise GraspPlannerError(
            f"the horizon must be a multiple of {model.frameskip} environment steps (one model step), got {horizon}"
        )
    return horizon // model.frameskip


def problem_of(
    task: Task,
    model: WorldModel,
    episodes: Sequence[Episode],
    *,
    pixels: int | None = None,
    objective: Objective | None = None,
    dynamics: Dynamics | None = None,
) -> Problem:
    """Return the planning problems from the starts of episodes to their goals.

    A model that reads a history gets the first observation repeated, with zero actions in between.

    Args:
        task: task of the episodes; its horizon is in environment steps.
        model: the world model, which encodes the observations.
        episodes: episodes of the task.
        pixels: side of the pictures to draw for the model; ``None``: no pictures.
        objective: ``None``: the distance to the goal, with the goal weights of the model.
        dynamics: how the model is evaluated, such as ``Compiled(model)``; ``None``: the model itself.

    Raises:
        GraspPlannerError: the horizon is not a whole number of model steps, or the model rejects the observations.

    Example:
        >>> from grasp_planner import load_world_model
        >>> from grasp_planner.bench.tasks import episodes, task
        >>> wall = task("wall/dset", horizon=20)  # environment steps
        >>> problem = problem_of(wall, load_world_model("wall-state"), episodes(wall, "validation", 3))
        >>> problem.batch, problem.horizon
        (3, 4)
    """
    check_actions(task, model)
    horizon, env = model_steps(model, task.horizon), task.make(pixels=pixels)
    seen, wanted = zip(*(observe(env, episode) for episode in episodes), strict=True)
    observations = {name: array[:, None] for name, array in stacked(seen).items()}
    goals = {name: array[:, None] for name, array in stacked(wanted).items()}
    try:
        return Problem.observed(model, observations, goals, horizon, objective=objective, dynamics=dynamics)
    except GraspPlannerError as reason:
        raise misfit(task, reason) from reason


def problem_rows(problem: Problem, rows: slice) -> Problem:
    """Return some problems of a batch."""
    return replace(
        problem, states=problem.states[rows], past_actions=problem.past_actions[rows], goal=problem.goal[rows]
    )
