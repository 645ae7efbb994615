"""Execute actions in the simulator and judge them; what policies that do not plan achieve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.domains.policies import POLICIES, Policy

FLOORS = ("random", "nothing", "scripted")


@dataclass(frozen=True)
class Outcome:
    """What an execution came to.

    Args:
        success_end: the last state is a success. The rule of the GRASP paper and DINO-WM.
        success_any: some state after the start is one. The rule of stable-worldmodel; easier.
        success_step: the number of steps after which the first success came, or None.
        distances: arrays (t+1,) per measure, units in the names: of every state to the goal.
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
        task: the episode's.
        episode: of `episodes`.
        actions: (t, a) in the environment's own units, however many; success at the end is judged after the
        last.
        env: an environment of `task.make` to use, which spares making one.

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
    return _run(task, episode, lambda state: next(remaining), len(actions), env)


@dataclass(frozen=True)
class Floor:
    """What a policy that does not plan achieves on a task: the zero of a planner's scale."""

    task: str
    horizon: int
    policy: str
    end: Share
    any: Share


def floor(task: Task, episodes: Sequence[Episode], policy: str = "random") -> Floor:
    """Run a policy that knows nothing of the goal for `task.horizon` steps in every episode.

    Args:
        task: the episodes'.
        episodes: of `episodes`, at least one.
        policy: ``"random"``, independent actions, uniform in the action space; ``"nothing"``, zero actions,
            whose success at the end is the share of episodes that are solved at the start where nothing
            moves by itself; ``"scripted"``, the policy that collected the data.

    Raises:
        GraspPlannerError: an unknown policy or no episodes.

    >>> from grasp_planner.bench.tasks import episodes, task
    >>> wall = task("wall/random_state/v1")
    >>> floor(wall, episodes(wall, count=20), "nothing").end.successes
    0
    """
    if policy not in FLOORS:
        raise unknown_name("policy", policy, FLOORS)
    if not episodes:
        raise GraspPlannerError("a floor needs at least one episode, got none")
    env = task.make()
    outcomes = []
    for episode in episodes:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([episode.seed, FLOORS.index(policy)])))
        act = _policy(task, policy, env)
        act.reset(rng, episode.start)
        outcomes.append(_run(task, episode, act.act, task.horizon, env))
    return Floor(
        task=task.name,
        horizon=task.horizon,
        policy=policy,
        end=Share(sum(outcome.success_end for outcome in outcomes), len(outcomes)),
        any=Share(sum(outcome.success_any for outcome in outcomes), len(outcomes)),
    )


class _Random:
    """Independent actions, uniform between `low` and `high` (a,)."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self._low, self._high = low, high

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        self._rng = rng

    def act(self, state: np.ndarray) -> np.ndarray:
        return self._rng.uniform(self._low, self._high)


def _policy(task: Task, name: str, env: Any) -> Policy:
    if name == "scripted":
        return POLICIES[task.domain.policy]()
    scale = 0.0 if name == "nothing" else 1.0
    return _Random(scale * env.action_space.low, scale * env.action_space.high)


def _run(task: Task, episode: Episode, act: Callable[[np.ndarray], np.ndarray], steps: int, env: Any) -> Outcome:
    observation, _ = env.reset(seed=episode.seed, options={"state": episode.start, "goal": episode.goal})
    states = [observation["state"]]
    for _ in range(steps):
        states.append(env.step(act(states[-1]))[0]["state"])
    return outcome_of(task, episode, np.array(states))


def outcome_of(task: Task, episode: Episode, path: np.ndarray) -> Outcome:
    """What a path (t+1, s) of states from the episode's start came to."""
    reached = np.flatnonzero(task.success(path[1:], episode.goal))
    return Outcome(
        success_end=bool(task.success(path[-1], episode.goal)),
        success_any=bool(len(reached)),
        success_step=int(reached[0]) + 1 if len(reached) else None,
        distances=task.distances(path, episode.goal),
        states=path,
    )
