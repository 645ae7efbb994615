"""The interface of a world: its environment, policies, scene, success rule and defaults."""

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
        """Return the action for `state`, in the environment's own units."""
        ...


@dataclass(frozen=True)
class ReferenceData:
    """Properties of the reference data set, which a world's tasks and collected data imitate.

    Args:
        episode_steps: environment steps in an episode of collected data, unless the caller gives another number.
        warm_up: largest number of environment steps that the policy makes before the start of a task's stretch.
        action_mean: (a,) mean of the actions, in the environment's own units.
        action_std: (a,) standard deviation of the actions.
    """

    episode_steps: int
    warm_up: int
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]


@dataclass(frozen=True)
class Variant:
    """A world with other settings, which has a task of its own with the goal source ``random_state``.

    Args:
        options: arguments of the environment's class.
        horizon: the task's horizon, in environment steps.
        model: name of the packaged model with these settings. The task is planned in no other packaged model.
        drawn: whether figures can draw the variant, because its outlines are those of the world's scene.
    """

    options: Mapping[str, Any]
    horizon: int
    model: str
    drawn: bool = True


def dino_wm_horizons() -> dict[str, int]:
    """Return the default horizons in environment steps: for each goal source 25, DINO-WM's goal_H of 5 model steps."""
    return {"random_state": 25, "dset": 25, "random_action": 25}


@dataclass(frozen=True)
class Domain:
    """A world. Its instance is in the world's ``task.py`` and has a row in `grasp_planner.domains.registry.DOMAINS`.

    Args:
        name: the world's short name, which is also the name of its folder, its collecting policy and its tasks.
        env: the Gymnasium id without the namespace: the class in the folder's ``environment.py`` and a version, for
            example ``"PushT-v1"`` for the class ``PushT``.
        policy: a function that makes the scripted policy, which collects data and samples the episodes of the tasks.
        scene: the outlines that figures draw.
        success: ``success(states, goals)``: whether states (..., s) are at their goals (..., s); bool (...).
        distances: ``distances(states, goals)``: arrays (...) by name, with the unit at the end of the name.
        data: the reference data set.
        already_solved: ``already_solved(start, goal)``: whether a pair is not a planning problem, so that tasks drop
            it. None: a pair is dropped if the start is a success.
        horizons: default horizon of the task for each goal source, in environment steps.
        other_policies: further scripted policies, by name.
        models: names of the packaged models of this world. The first is the model that plans are made in, unless the
            caller gives another.
        variants: the world with other settings, by name. The variant ``hook_100`` of ``ball_nav`` has the task
            ``ball_nav_hook_100/random_state/v1``.
        versions: versions of the tasks, the last part of their names, from the oldest to the newest, for each goal
            source that has other versions than ``v1``. Versions differ in their episodes.
        tolerances: the limit of each distance that ``success`` judges, by the name of the distance. A success needs
            every one of these distances below its limit. Reports state the limits; without limits, they state none.
    """

    name: str
    env: str
    policy: Callable[[], Policy]
    scene: Scene = field(compare=False)
    success: Callable[[np.ndarray, np.ndarray], np.ndarray]
    distances: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
    data: ReferenceData
    already_solved: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    horizons: Mapping[str, int] = field(default_factory=dino_wm_horizons, hash=False)
    other_policies: Mapping[str, Callable[[], Policy]] = field(default_factory=dict, hash=False)
    models: tuple[str, ...] = ()
    variants: Mapping[str, Variant] = field(default_factory=dict, hash=False)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    tolerances: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def entry_point(self) -> str:
        """``"module:class"`` of the environment. Its module is imported when an environment is made."""
        return f"grasp_planner.domains.{self.name}.environment:{self.env.partition('-')[0]}"

    def make(self, pixels: int | None = None, render_mode: str | None = None, **options: Any) -> Any:
        """Return a new environment of this world, without Gymnasium's wrappers.

        Args:
            pixels: side of the pictures in observations; None: no pictures.
            render_mode: see the environment.
            options: further arguments of the environment's class.
        """
        module, _, name = self.entry_point.partition(":")
        return getattr(importlib.import_module(module), name)(pixels=pixels, render_mode=render_mode, **options)

    def versions_of(self, goal_source: str) -> tuple[str, ...]:
        """Return the versions of the tasks with a goal source, from the oldest to the newest."""
        return self.versions.get(goal_source, ("v1",))

    def drops(self, start: np.ndarray, goal: np.ndarray) -> bool:
        """Return whether tasks drop a pair of states (s,), because it is already solved."""
        return bool((self.already_solved or self.success)(start, goal))


def with_unit(name: str, number: str) -> str:
    """Return a number with the unit at the end of a distance's name.

    >>> with_unit("position_px", "12"), with_unit("angle_deg", "4"), with_unit("velocity_m_s", "0.1")
    ('12 px', '4°', '0.1 m/s')
    """
    unit = name.partition("_")[2].replace("_", "/")
    return f"{number}°" if unit == "deg" else f"{number} {unit}".rstrip()
