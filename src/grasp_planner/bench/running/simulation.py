"""Execute actions in the simulator, and judge whether they reach the goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True)
class Outcome:
    """The result of executing actions in the simulator.

    Args:
        success_end: whether the last state is a success. This is the rule of the GRASP paper and of DINO-WM.
        success_any: whether any state after the start is a success. This is the rule of stable-worldmodel; it is
            easier to satisfy.
        success_step: number of environment steps until the first success, or ``None``.
        distances: arrays (t+1,) per measure, of every state to the goal; units are in the names.
        states: (t+1, s), the start and the state after each step.
    """

    success_end: bool
    success_any: bool
    success_step: int | None
    distances: dict[str, np.ndarray]
    states: np.ndarray


def execute(task: Task, episode: Episode, actions: np.ndarray, env: Any = None) -> Outcome:
    """Execute actions (t, a) from an episode's start in the simulator.

    Args:
        task: task of the episode.
        episode: an episode of ``tasks.episodes``.
        actions: (t, a) in the environment's own units, for any number of environment steps.
        env: an environment of ``task.make`` to use; ``None``: a new one.

    Raises:
        GraspPlannerError: the actions are not a (t, a) array of finite numbers with t at least 1.

    >>> from grasp_planner.bench.tasks import episodes, task
    >>> wall = task("wall/dset/v1", horizon=20)
    >>> first = episodes(wall, count=1)[0]
    >>> outcome = execute(wall, first, first.actions)
    >>> outcome.success_end, outcome.states.shape
    (True, (21, 2))
    """
    env = task.make() if env is None else env
    actions = np.asarray(actions, dtype=np.float64)
    size = env.action_space.shape[0]
    if actions.ndim != 2 or actions.shape[1] != size or not len(actions) or not np.isfinite(actions).all():
        raise GraspPlannerError(
            f"{task.name} executes a finite array of actions (t, {size}), t >= 1; got shape {actions.shape}"
            + ("" if np.isfinite(actions).all() else " with numbers that are not finite")
        )
    remaining = iter(actions)
    return run_policy(task, episode, lambda state: next(remaining), len(actions), env)


def run_policy(task: Task, episode: Episode, act: Callable[[np.ndarray], np.ndarray], steps: int, env: Any) -> Outcome:
    """Execute a policy from an episode's start in the simulator.

    Args:
        task: task of the episode.
        episode: an episode of ``tasks.episodes``.
        act: the policy, a function: state (s,) -> action (a,) in the environment's own units.
        steps: number of environment steps.
        env: an environment of ``task.make``.
    """
    observation, _ = env.reset(seed=episode.seed, options={"state": episode.start, "goal": episode.goal})
    states = [observation["state"]]
    for _ in range(steps):
        states.append(env.step(act(states[-1]))[0]["state"])
    return outcome_of(task, episode, np.array(states))


def outcome_of(task: Task, episode: Episode, path: np.ndarray) -> Outcome:
    """Return the outcome of a path (t+1, s) of states from the episode's start."""
    reached = np.flatnonzero(task.success(path[1:], episode.goal))
    return Outcome(
        success_end=bool(task.success(path[-1], episode.goal)),
        success_any=bool(len(reached)),
        success_step=int(reached[0]) + 1 if len(reached) else None,
        distances=task.distances(path, episode.goal),
        states=path,
    )
