"""What the rest of the package must know about a world: its environment, policies, scene, success rule and defaults."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from grasp_planner.domains.scenes import Scene

PICTURE_SIZES = (64, 224)  # px, the sides of the pictures in observations and data sets


class Policy(Protocol):
    """A scripted policy that collects data. All randomness comes from the generator given to `reset`."""

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode in `state`."""

    def act(self, state: np.ndarray) -> np.ndarray:
        """The action for `state`, in the environment's own units."""
        ...


@dataclass(frozen=True)
class Domain:
    """One world: a value in each world's ``task.py``, listed in `grasp_planner.domains.registry.DOMAINS`.

    Shape letters: s numbers in a state, a numbers in an action.

    Args:
        name: the world's short name, which is also the name of its folder, its collecting policy and its tasks.
        env: the Gymnasium id without the namespace, for example ``"PushT-v1"``.
        entry_point: ``"module:class"`` of the environment. The module is imported when an environment is made.
        policy: makes the scripted policy that collects data and draws the stretches of the tasks.
        scene: the outlines that figures draw.
        success: ``success(states, goals)``: which states (..., s) are at their goals (..., s); bool (...).
        distances: ``distances(states, goals)``: arrays (...) by name, with the unit at the end of the name.
        already_solved: ``already_solved(start, goal)``: whether a pair is not a planning problem, so that tasks drop
            it.
        warm_up: largest number of policy steps, in environment steps, before the start of a task's stretch.
        action_mean: (a,) mean of the actions in the reference data, in the environment's own units.
        action_std: (a,) standard deviation of the same actions.
        episode_steps: environment steps in an episode of collected data, unless the caller gives another number.
        horizons: default horizon in environment steps of the task for each goal source.
        other_policies: further scripted policies, by name.
        version: version of the world's tasks, the last part of their names.
    """

    name: str
    env: str
    entry_point: str
    policy: Callable[[], Policy]
    scene: Scene = field(compare=False)
    success: Callable[[np.ndarray, np.ndarray], np.ndarray]
    distances: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
    already_solved: Callable[[np.ndarray, np.ndarray], np.ndarray]
    warm_up: int
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    episode_steps: int
    horizons: Mapping[str, int] = field(hash=False)
    other_policies: Mapping[str, Callable[[], Policy]] = field(default_factory=dict, hash=False)
    version: str = "v1"

    def make(self, pixels: int | None = None, render_mode: str | None = None) -> Any:
        """A new environment of this world, without Gymnasium's wrappers."""
        module, _, name = self.entry_point.partition(":")
        return getattr(importlib.import_module(module), name)(pixels=pixels, render_mode=render_mode)
