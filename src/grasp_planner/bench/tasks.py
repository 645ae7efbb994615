"""Tasks: the source of planning problems. A task's name and horizon determine its episodes on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, known_name, unknown_name
from grasp_planner.domains.domain import Domain, Variant
from grasp_planner.domains.registry import DOMAINS, other_spellings

SPLITS = ("test", "validation", "training")
REACHABLE = "dset"  # the goal source of a task that is named by its world alone
DECIMALS = 6  # of every number in an episode, so that episodes do not depend on the rounding of a math library
MOST_DRAWS = 1000  # for one episode; it is an error if all these pairs are dropped


@dataclass(frozen=True)
class Task:
    """A way of sampling start and goal in one world, and the number of environment steps between them.

    The goal sources and their names are DINO-WM's:

    - ``random_state``: ``env.reset(seed=...)`` gives start and goal. Their distance does not grow with the horizon, the
      horizon may be too short to reach the goal, and no pair is dropped.
    - ``dset``: start and goal are the ends of a held-out stretch of the scripted policy, `horizon` environment steps
      long. The policy runs for a random number of steps, which leads to the start. Its next actions are replayed from
      the start in the simulator, which leads to the goal. The goal can therefore be reached in time by actions like
      those of the training data. Start-goal pairs that are already solved are dropped (`Domain.already_solved`).
    - ``random_action``: starts are sampled as for ``dset``. Normally distributed actions with the data's mean and
      standard deviation lead to the goal. No pair is dropped.

    Args:
        name: ``world/goal source/version``.
        domain: the world.
        goal_source: ``"random_state"``, ``"dset"`` or ``"random_action"``.
        horizon: environment steps from start to goal. A model with frameskip 5 takes a fifth as many model steps.
        variant: the world's settings; None: the defaults of its environment.
        action_noise: standard deviation of the noise that the environment adds to every action, in the units of the
            actions, see `domains.noisy_action.NoisyAction`. Episodes are the same for every noise: they are sampled
            without noise.

    Differences from DINO-WM: our policies generate trajectories on demand, while DINO-WM takes them from its data; and
    DINO-WM drops no pair.
    """

    name: str
    domain: Domain
    goal_source: str
    horizon: int
    variant: Variant | None = None
    action_noise: float = 0.0

    @property
    def env(self) -> str:
        """The Gymnasium id of the environment, without the namespace."""
        return self.domain.env

    @property
    def scene(self) -> str:
        """Name of the outlines that figures draw, see `domains.registry.SCENES`; a variant may have no outlines."""
        return self.env if self.variant is None or self.variant.drawn else self.name

    def make(self, pixels: int | None = None, render_mode: str | None = None) -> Any:
        """Return a new environment of this task, without Gymnasium's wrappers; with noise, in a `NoisyAction`."""
        options = {} if self.variant is None else self.variant.options
        env = self.domain.make(pixels=pixels, render_mode=render_mode, **options)
        if self.action_noise == 0.0:
            return env
        from grasp_planner.domains.noisy_action import NoisyAction  # needs Gymnasium, which tasks do not

        return NoisyAction(env, self.action_noise)

    def success(self, state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Return whether states (..., s) are at their goals (..., s) by the world's success rule, as bool (...)."""
        return self.domain.success(state, goal)

    def distances(self, state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        """Return the distances of states (..., s) from goals (..., s): arrays (...), with the unit in the name."""
        return self.domain.distances(state, goal)


def domain_tasks(domain: Domain) -> list[Task]:
    """Return the tasks of one world: one for each version of each of its goal sources, and one for each variant.

    Versions are in order, the oldest first.
    """
    tasks = [
        Task(f"{domain.name}/{goal_source}/{version}", domain, goal_source, horizon)
        for goal_source, horizon in domain.horizons.items()
        for version in domain.versions_of(goal_source)
    ]
    source = "random_state"
    return tasks + [
        Task(f"{domain.name}_{name}/{source}/{version}", domain, source, variant.horizon, variant)
        for name, variant in domain.variants.items()
        for version in domain.versions_of(source)
    ]


TASKS: dict[str, Task] = {task.name: task for domain in DOMAINS.values() for task in domain_tasks(domain)}
"""All tasks by name, with their default horizons. Worlds, goal sources and horizons come from the table of worlds."""


def task(name: str, horizon: int | None = None, *, action_noise: float = 0.0) -> Task:
    """Return the task called ``name``, with its default horizon or with the given horizon.

    Args:
        name: key of `TASKS` in any spelling, with or without version. Without version, the name means the newest
            version. The world, or its environment, without a goal source means the goal source ``dset``, whose goals
            are reachable.
        horizon: horizon in environment steps; None: the task's default.
        action_noise: standard deviation of the noise on actions, see `Task`.

    Raises:
        GraspPlannerError: no task has that name, the horizon is not positive, or the noise is negative.

    >>> task("push_t/dset/v1", horizon=50).horizon
    50
    >>> task("PushT-v1").name, task("push_t").name, task("wall/random-state").name
    ('push_t/dset/v1', 'push_t/dset/v2', 'wall/random_state/v1')
    """
    if not 0 <= action_noise < math.inf:
        raise GraspPlannerError(f"the noise on actions must be a number >= 0, got {action_noise!r}")
    found = replace(TASKS[known_name("task", name, TASKS, _other_spellings())], action_noise=action_noise)
    if horizon is None:
        return found
    if horizon < 1:
        raise GraspPlannerError(f"a horizon is at least 1 environment step, got {horizon}")
    return replace(found, horizon=horizon)


def _other_spellings() -> dict[str, str]:
    """Shorter names of tasks: without the version; names of worlds and environments for dset; names of variants.

    Versions of a task are in ``TASKS`` from the oldest to the newest, so a name without version is left to the newest.
    """
    short: dict[str, str] = {}
    for full in TASKS:
        world, source, version = full.split("/")
        short[f"{world}/{source}"] = full
        if source == REACHABLE:
            names = [world, *(name for name, env in other_spellings().items() if env == DOMAINS[world].env)]
            short |= {spelling: full for name in names for spelling in (name, f"{name}/{version}", f"{name}-{version}")}
        elif world not in DOMAINS:  # a variant has a single task
            short[world] = full
    return short


@dataclass(frozen=True)
class Episode:
    """One planning problem.

    Args:
        index: number of the episode in the task's list.
        seed: seed for solving the problem; below 2^32, different in each episode.
        start: (s,) state of the environment, for ``env.reset(options={"state": ..., "goal": ...})``.
        goal: (s,) state of the environment.
        actions: (horizon, a) environment actions that lead from start to goal; None if no such actions are known.
            Planners must not see these actions.
        dropped: number of start-goal pairs that were dropped before this pair, see `Domain.already_solved`.
    """

    index: int
    seed: int
    start: np.ndarray
    goal: np.ndarray
    actions: np.ndarray | None
    dropped: int


def episodes(task: Task, split: str = "test", count: int = 50, first: int = 0) -> list[Episode]:
    """Return `count` episodes of a task, from number `first` on, which are the same on every machine.

    Episode i of a split comes from PCG64 seeded with ``SeedSequence([sha256(name), split, i, draw])``, so the episode
    does not depend on `count`. The horizon is not part of the seed. As long as no pair is dropped, an episode of a
    longer horizon begins like the episode of a shorter horizon with the same number, so the episodes of different
    horizons are paired. Data sets use other seeds. Numbers are rounded to six decimals before the replay.

    Args:
        task: a value of `TASKS`, or the result of `task`.
        split: ``"test"`` for results, ``"validation"`` for tuning, ``"training"`` for data.
        count: number of episodes.
        first: number of the first episode.

    Raises:
        GraspPlannerError: the split is unknown, `count` is not positive, or `first` is below 0.

    >>> first = episodes(task("wall/dset/v1", horizon=10), count=2)[0]
    >>> first.start.shape, first.goal.shape, first.actions.shape
    ((2,), (2,), (10, 2))
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if count < 1:
        raise GraspPlannerError(f"a list of episodes holds at least one, got count {count}")
    if first < 0:
        raise GraspPlannerError(f"episodes are numbered from 0, got first {first}")
    env = replace(task, action_noise=0.0).make()
    return [_episode(task, split, index, env) for index in range(first, first + count)]


def digest(episodes: Iterable[Episode]) -> str:
    """Return sixteen hexadecimal digits that identify a list of episodes, to be stored with results.

    >>> wall = task("wall/random_state/v1")
    >>> digest(episodes(wall, count=2)) == digest(episodes(wall, count=3)[:2])
    True
    """
    total = hashlib.sha256()
    for episode in episodes:
        total.update(np.concatenate([episode.start, episode.goal]).astype("<f8").tobytes())
    return total.hexdigest()[:16]


def _episode(task: Task, split: str, index: int, env: Any) -> Episode:
    name = int.from_bytes(hashlib.sha256(task.name.encode()).digest()[:8], "big")
    draw = {"random_state": _two_states, "dset": _policy_stretch, "random_action": _normal_actions}
    for dropped in range(MOST_DRAWS):
        sequence = np.random.SeedSequence([name, SPLITS.index(split), index, dropped])
        for_seed, for_draw = sequence.spawn(2)
        seed = int(for_seed.generate_state(1)[0])
        rng = np.random.Generator(np.random.PCG64(for_draw))
        start, goal, actions = draw[task.goal_source](task, env, seed, rng)
        if task.goal_source != "dset" or not task.domain.drops(start, goal):
            return Episode(index, seed, start, goal, actions, dropped)
    raise GraspPlannerError(
        f"each of {MOST_DRAWS} start-goal pairs drawn for episode {index} of {task.name} at horizon {task.horizon} "
        "was already solved; ask for a longer horizon"
    )


_Draw = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def _two_states(task: Task, env: Any, seed: int, rng: np.random.Generator) -> _Draw:
    observation, info = env.reset(seed=seed)
    return _rounded(observation["state"]), _rounded(info["goal"]), None


def _policy_stretch(task: Task, env: Any, seed: int, rng: np.random.Generator) -> _Draw:
    start, policy = _warmed_up(task, env, rng)
    state, actions = env.get_state(), []
    for _ in range(task.horizon):
        actions.append(policy.act(state))
        state = env.step(actions[-1])[0]["state"]
    return _replayed(env, start, np.array(actions))


def _normal_actions(task: Task, env: Any, seed: int, rng: np.random.Generator) -> _Draw:
    start, _ = _warmed_up(task, env, rng)
    mean, std = np.array(task.domain.data.action_mean), np.array(task.domain.data.action_std)
    return _replayed(env, start, mean + std * rng.standard_normal((task.horizon, len(mean))))


def _warmed_up(task: Task, env: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    """Run the policy for a random number of steps in `env`, and return the last state (s,) and the policy."""
    first = env.sample_state(rng)
    state = env.reset(options={"state": first, "goal": first})[0]["state"]
    steps = int(rng.integers(0, task.domain.data.warm_up + 1))
    policy = task.domain.policy()
    policy.reset(rng, state)
    for _ in range(steps):
        state = env.step(policy.act(state))[0]["state"]
    return state, policy


def _replayed(env: Any, start: np.ndarray, actions: np.ndarray) -> _Draw:
    """Return the start, the state to which `actions` (t, a) lead from the start, and the actions, all rounded."""
    start, actions = _rounded(start), _rounded(actions)
    state = env.reset(options={"state": start, "goal": start})[0]["state"]
    for action in actions:
        state = env.step(action)[0]["state"]
    return start, _rounded(state), actions


def _rounded(numbers: np.ndarray) -> np.ndarray:
    return np.round(numbers, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
