"""Tasks: where planning problems come from. A name and a horizon stand for the same episodes everywhere."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.domains import ENVIRONMENTS
from grasp_planner.domains.policies import POLICIES

SPLITS = ("test", "validation")
DECIMALS = 6  # of every number in an episode: the last digits of a mathematics library must not matter
MOST_DRAWS = 1000  # for one episode; a task that drops more is misconceived


@dataclass(frozen=True)
class Domain:
    """What the tasks of one environment share.

    Args:
        env: the environment's name in `grasp_planner.domains.ENVIRONMENTS`.
        policy: the scripted policy's name in `grasp_planner.domains.policies.POLICIES`.
        warm_up: a trajectory's stretch begins after at most so many steps of the policy.
        action_mean: of the published data (BallNav: of ours), per coordinate, in the environment's own units.
        action_std: likewise.
        already: when a stretch is no problem and is dropped: ``"solved"``, its start is a success; or
            ``"block_in_place"`` (Push-T), its start would be one wherever the pusher is.
    """

    env: str
    policy: str
    warm_up: int
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    already: str = "solved"


@dataclass(frozen=True)
class Task:
    """One way of drawing start and goal in one environment, and the steps there are between them.

    The goal sources are DINO-WM's, by its names:

    - ``random_state``: start and goal by the environment's published law, ``env.reset(seed=...)``. They are no farther
      apart when the horizon is longer, nothing says that the horizon suffices, and nothing is dropped.
    - ``dset``: a stretch, `horizon` steps long, of a held-out trajectory of the scripted policy. The policy runs for
      a random number of steps; the state it is then in is the start. Its next actions are replayed from there in the
      simulator, and the state they lead to is the goal, which can thus be reached in time by actions like those of
      the training data. Stretches that are no problem are dropped (`Domain.already`).
    - ``random_action``: starts as for ``dset``; the goal is where normal actions with the data's mean and standard
      deviation lead. Nothing is dropped.

    Args:
        name: versioned, ``environment/goal source/version``.
        domain: what does not depend on the goal source.
        goal_source: see above.
        horizon: environment steps (a model with frameskip 5 makes a fifth of them) from start to goal.

    Differences from DINO-WM: trajectories are made by our policies on the spot, not taken from its data;
    and it drops nothing.
    """

    name: str
    domain: Domain
    goal_source: str
    horizon: int

    @property
    def env(self) -> str:
        """The environment's name in `grasp_planner.domains.ENVIRONMENTS`."""
        return self.domain.env

    def make(self, pixels: int | None = None, render_mode: str | None = None) -> Any:
        """A new environment of this task, without Gymnasium's wrappers."""
        entry = ENVIRONMENTS[self.env].partition(":")[2]
        return getattr(self._module(), entry)(pixels=pixels, render_mode=render_mode)

    def success(self, state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Which states (..., s) are at their goals (..., s) by the published rule; bool (...)."""
        return self._module().success(state, goal)

    def distances(self, state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        """How far states (..., s) are from goals (..., s): arrays (...), with the unit in the name."""
        return self._module().distances(state, goal)

    def _module(self) -> Any:
        return importlib.import_module(ENVIRONMENTS[self.env].partition(":")[0])


# Means and standard deviations are those of DINO-WM's data sets. Its trajectories have 50, 100 and 100-300 steps.
WALL = Domain("WallSingle-v1", "wall", 25, (-0.00556, 0.01320), (0.75233, 0.74669))
POINT_MAZE = Domain("PointMaze-v1", "point_maze", 50, (7.8e-5, 6.0e-4), (0.57691, 0.57759))
PUSH_T = Domain("PushT-v1", "push_t", 100, (-0.0087, 0.0068), (0.2019, 0.2002), already="block_in_place")
# There is no published data of BallNav. Ours has 100 steps: `grasp collect ball_nav --episodes 1000`.
BALL_NAV = Domain("BallNav-v1", "ball_nav", 50, (0.1513, -0.0036), (0.5737, 0.5795))

# The horizon is DINO-WM's goal_H of 5 model steps; `task(name, horizon)` gives any other. What it means for reach:
# - Wall, random_state: 25 steps of the data's mean length cover the shortest way of 88 % of the pairs, 25 of its
#   longest that of all. Stretches of a random walk end 18, 22 and 25 px away (medians at 25, 50 and 80 steps), 10 to
#   19 % of them in the other room; 23, 10, 6 and 5 % are dropped at 10, 25, 50 and 80 steps, for ending at their start.
# - PointMaze fills its maze in 25 steps: stretches end 1.6, 1.8 and 1.7 m away at 25, 50 and 80 steps, so a longer
#   horizon is not a farther goal; 30, 15, 9 and 11 % are dropped at 10, 25, 50 and 80 steps.
# - Push-T stretches get farther with the horizon; half are dropped at 10 steps, one in six at 25.
# - BallNav, random_state: start and goal are on either side of the cup, 20 to 31 steps by the shortest way at full
#   speed, which leaves no time to find it in 25. Stretches end 3.4, 3.9 and 3.6 m away at 25, 50 and 80 steps, a wall
#   between start and goal in 25, 47 and 44 %; 7, 4, 1 and 2 % are dropped at 10, 25, 50 and 80 steps.
TASKS: dict[str, Task] = {
    "wall/random_state/v1": Task("wall/random_state/v1", WALL, "random_state", 25),
    "wall/dset/v1": Task("wall/dset/v1", WALL, "dset", 25),
    "wall/random_action/v1": Task("wall/random_action/v1", WALL, "random_action", 25),
    "point_maze/random_state/v1": Task("point_maze/random_state/v1", POINT_MAZE, "random_state", 25),
    "point_maze/dset/v1": Task("point_maze/dset/v1", POINT_MAZE, "dset", 25),
    "point_maze/random_action/v1": Task("point_maze/random_action/v1", POINT_MAZE, "random_action", 25),
    "push_t/random_state/v1": Task("push_t/random_state/v1", PUSH_T, "random_state", 25),
    "push_t/dset/v1": Task("push_t/dset/v1", PUSH_T, "dset", 25),
    "push_t/random_action/v1": Task("push_t/random_action/v1", PUSH_T, "random_action", 25),
    "ball_nav/random_state/v1": Task("ball_nav/random_state/v1", BALL_NAV, "random_state", 60),
    "ball_nav/dset/v1": Task("ball_nav/dset/v1", BALL_NAV, "dset", 25),
    "ball_nav/random_action/v1": Task("ball_nav/random_action/v1", BALL_NAV, "random_action", 25),
}


def task(name: str, horizon: int | None = None) -> Task:
    """The task called `name`, at its own or another horizon (environment steps).

    Raises:
        GraspPlannerError: there is no such task, or the horizon is not positive.

    >>> task("push_t/dset/v1", horizon=50).horizon
    50
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    found = TASKS[name]
    if horizon is None:
        return found
    if horizon < 1:
        raise GraspPlannerError(f"a horizon is at least 1 environment step, got {horizon}")
    return replace(found, horizon=horizon)


@dataclass(frozen=True)
class Episode:
    """One planning problem.

    Args:
        index: its place in the task's list.
        seed: its own, below 2^32, for whatever is random about solving it.
        start: (s,) state, for ``env.reset(options={"state": ..., "goal": ...})``.
        goal: (s,) state.
        actions: (horizon, a) that lead from start to goal, or None where none are known. Not for planners.
        dropped: draws that were dropped before this one, see `Domain.already`.
    """

    index: int
    seed: int
    start: np.ndarray
    goal: np.ndarray
    actions: np.ndarray | None
    dropped: int


def episodes(task: Task, split: str = "test", count: int = 50, first: int = 0) -> list[Episode]:
    """`count` episodes of a task from number `first` on: the same whenever and wherever they are drawn.

    Episode i of a split comes from PCG64 seeded with ``SeedSequence([sha256(name), split, i, draw])``, so
    it does not depend on `count`. The horizon is not part of the seed: the stretches of a longer horizon
    begin where those of a shorter one do (as long as neither drops a draw), which pairs the episodes of a
    sweep over horizons. No data set is made from these seeds. Numbers are rounded to six decimals before
    the replay.

    Args:
        task: of `TASKS`, or `task`.
        split: ``"test"`` for results, ``"validation"`` for tuning.
        count: of episodes.
        first: number of the first of them.

    Raises:
        GraspPlannerError: an unknown split, a count that is not positive, or a first one below 0.

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
    env = task.make()
    return [_episode(task, split, index, env) for index in range(first, first + count)]


def digest(episodes: Iterable[Episode]) -> str:
    """Sixteen hexadecimal digits that stand for a list of episodes, to be stored beside results.

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
        if task.goal_source != "dset" or not _is_no_problem(task, start, goal):
            return Episode(index, seed, start, goal, actions, dropped)
    raise GraspPlannerError(
        f"none of {MOST_DRAWS} draws for episode {index} of {task.name} at horizon {task.horizon} was a problem "
        f"({task.domain.already}); ask for a longer horizon"
    )


def _is_no_problem(task: Task, start: np.ndarray, goal: np.ndarray) -> bool:
    if task.domain.already == "block_in_place":
        from grasp_planner.domains.push_t import environment as push_t

        return bool(push_t.success(start, goal, block_only=True))
    return bool(task.success(start, goal))


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
    mean, std = np.array(task.domain.action_mean), np.array(task.domain.action_std)
    return _replayed(env, start, mean + std * rng.standard_normal((task.horizon, len(mean))))


def _warmed_up(task: Task, env: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    """The state (s,) in which a random number of steps leaves the policy, and the policy. Moves `env` there."""
    first = env.sample_state(rng)
    state = env.reset(options={"state": first, "goal": first})[0]["state"]
    steps = int(rng.integers(0, task.domain.warm_up + 1))
    policy = POLICIES[task.domain.policy]()
    policy.reset(rng, state)
    for _ in range(steps):
        state = env.step(policy.act(state))[0]["state"]
    return state, policy


def _replayed(env: Any, start: np.ndarray, actions: np.ndarray) -> _Draw:
    """The draw whose goal is where `actions` (t, a) lead from `start`."""
    start, actions = _rounded(start), _rounded(actions)
    state = env.reset(options={"state": start, "goal": start})[0]["state"]
    for action in actions:
        state = env.step(action)[0]["state"]
    return start, _rounded(state), actions


def _rounded(numbers: np.ndarray) -> np.ndarray:
    return np.round(numbers, DECIMALS) + 0.0  # + 0.0 makes one zero of two
