"""Collect one episode, which depends only on the recipe and the index of the episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data.recipe import Recipe, specification
from grasp_planner.domains.domain import Policy


@runtime_checkable
class Pictured(Protocol):
    """An environment that draws a picture of any state."""

    def picture(self, state: np.ndarray, size: int) -> np.ndarray:
        """Draw a picture (size, size, 3) uint8 of a state."""
        ...


@runtime_checkable
class Named(Protocol):
    """An environment that has names for the numbers of its state."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name per number."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A policy that prepares several episodes at once, and chooses their starts and goals."""

    def prepare(self, seed: int, episodes: range) -> None:
        """Prepare these episodes of the data set with this seed.

        The preparation of an episode must not depend on the other episodes.
        """
        ...

    def begin(self, episode: int) -> dict[str, np.ndarray]:
        """Begin a prepared episode, and return its options for ``env.reset``: ``state`` and ``goal``."""
        ...


@dataclass(frozen=True)
class Recording:
    """An episode of T data steps.

    Attributes:
        observations: key -> (T + 1, ...).
        actions: (T, every * action).
        rewards: (T,), sums of rewards over action blocks.
        terminations: (T,) bool.
        truncations: (T,) bool, True at the last step unless the episode terminated.
        success: (T,) bool, whether each data step ends at the goal.
        goal: the goal state of the episode, if the environment has one.
        seed: the argument of ``env.reset(seed=...)``.
    """

    observations: dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    success: np.ndarray
    goal: np.ndarray | None
    seed: int


def make_environment(recipe: Recipe) -> Any:
    """Make the environment of a recipe without wrappers. Pictures are drawn only for stored observations.

    Raises:
        GraspPlannerError: the environment does not have the interface that collecting needs.
    """
    import gymnasium
    from gymnasium import spaces

    specification(recipe.environment)
    env = gymnasium.make(recipe.environment, disable_env_checker=True).unwrapped
    space = env.observation_space
    if not isinstance(space, spaces.Dict) or "state" not in space.spaces:
        raise GraspPlannerError(
            f"needed an environment whose observations are a dictionary with a 'state', {recipe.environment!r} "
            f"has {space}"
        )
    if not isinstance(env.action_space, spaces.Box) or len(env.action_space.shape) != 1:
        raise GraspPlannerError(
            f"needed an environment whose actions are one row of numbers, {recipe.environment!r} has {env.action_space}"
        )
    if recipe.pixels is not None and not isinstance(env, Pictured):
        raise GraspPlannerError(f"{recipe.environment!r} has no picture(state, size): collect without pixels")
    return env


def roll(env: Any, policy: Policy, recipe: Recipe, index: int) -> Recording:
    """Collect episode `index` of a recipe.

    The seeds of the episode are derived from ``SeedSequence([seed, index])``. The episode is therefore the same in
    every process, in every order and at every attempt. A policy that is ``Prepared`` has prepared the episode.

    Raises:
        GraspPlannerError: the episode terminated before the end of its first data step.
    """
    sequence = np.random.SeedSequence([recipe.seed, index])
    seed = int(sequence.generate_state(1)[0] >> 1)
    rng = np.random.default_rng(sequence.spawn(1)[0])
    options = policy.begin(index) if isinstance(policy, Prepared) else None
    observation, info = env.reset(seed=seed, options=options)
    goal = info.get("goal")
    policy.reset(rng, observation["state"])
    seen = {key: [np.array(value)] for key, value in observation.items()}
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    success: list[bool] = []
    terminated = truncated = False
    for _ in range(recipe.steps // recipe.every):
        block, reward = [], 0.0
        for _ in range(recipe.every):
            action = np.array(policy.act(observation["state"]), dtype=np.float64)
            observation, gained, terminated, truncated, info = env.step(action)
            block.append(action)
            reward += float(gained)
            if terminated or truncated:
                break
        if len(block) == recipe.every:
            actions.append(np.concatenate(block))
            rewards.append(reward)
            success.append(bool(info.get("success", False)))
            for key, value in observation.items():
                seen[key].append(np.array(value))
        if terminated or truncated:
            break
    if not actions:
        raise GraspPlannerError(
            f"episode {index} of {recipe.environment!r} ended within its first {recipe.every} steps"
        )
    observations = {key: np.stack(values) for key, values in seen.items()}
    if recipe.pixels is not None:
        observations["pixels"] = np.stack([env.picture(state, recipe.pixels) for state in seen["state"]])
    ends = np.arange(1, len(actions) + 1) == len(actions)
    return Recording(
        observations=observations,
        actions=np.stack(actions),
        rewards=np.array(rewards),
        terminations=ends & terminated,
        truncations=ends & (not terminated),
        success=np.array(success),
        goal=None if goal is None else np.asarray(goal, dtype=np.float64),
        seed=seed,
    )
