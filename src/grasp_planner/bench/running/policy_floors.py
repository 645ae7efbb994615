"""Baselines: the success of policies that do not plan on a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.running.simulation import run_policy
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError, known_name
from grasp_planner.domains.domain import Policy

FLOORS = ("random", "nothing", "scripted")


@dataclass(frozen=True)
class Floor:
    """Success of a policy that does not plan on a task: the baseline for planners."""

    task: str
    horizon: int
    policy: str
    end: Share
    any: Share


def floor(task: Task, episodes: Sequence[Episode], policy: str = "random") -> Floor:
    """Run a policy that ignores the goal for ``task.horizon`` environment steps in every episode.

    Args:
        task: of the episodes.
        episodes: episodes of ``tasks.episodes``, at least one.
        policy: ``"random"``: independent actions, uniform in the action space. ``"nothing"``: zero actions. In worlds
            where nothing moves by itself, its success after the last step is the share of episodes that are solved at
            the start. ``"scripted"``: the policy that collected the data.

    Raises:
        GraspPlannerError: the policy is unknown, or there are no episodes.

    >>> from grasp_planner.bench.tasks import episodes, task
    >>> wall = task("wall/random_state/v1")
    >>> floor(wall, episodes(wall, count=20), "nothing").end.successes
    0
    """
    policy = known_name("policy", policy, FLOORS)
    if not episodes:
        raise GraspPlannerError("a floor needs at least one episode, got none")
    env = task.make()
    outcomes = []
    for episode in episodes:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([episode.seed, FLOORS.index(policy)])))
        act = _policy(task, policy, env)
        act.reset(rng, episode.start)
        outcomes.append(run_policy(task, episode, act.act, task.horizon, env))
    return Floor(
        task=task.name,
        horizon=task.horizon,
        policy=policy,
        end=Share(sum(outcome.success_end for outcome in outcomes), len(outcomes)),
        any=Share(sum(outcome.success_any for outcome in outcomes), len(outcomes)),
    )


class _Random:
    """A policy of independent actions, uniform between `low` and `high` (a,)."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self._low, self._high = low, high

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        self._rng = rng

    def act(self, state: np.ndarray) -> np.ndarray:
        return self._rng.uniform(self._low, self._high)


def _policy(task: Task, name: str, env: Any) -> Policy:
    if name == "scripted":
        return task.domain.policy()
    scale = 0.0 if name == "nothing" else 1.0
    return _Random(scale * env.action_space.low, scale * env.action_space.high)
