"""The Gymnasium interface that all worlds share: spaces, `reset`, `step`, `render`, observations and infos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.domains.domain import PICTURE_SIZES

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise missing_extra("gymnasium", "envs", "an environment") from error


class World(gymnasium.Env, ABC):
    """Base class of the environments: a state vector, a goal state, and pictures of any state.

    **Observation**: a dictionary with ``"state"`` (s,), ``"proprio"`` (p,) and, if `pixels` is given, ``"pixels"``
    (pixels, pixels, 3) uint8. **Reward**: 1.0 on success, else 0.0. An episode never terminates and is never
    truncated. **Info**: ``success`` and the distances to ``self.goal``; after `reset` also ``goal``.

    A world is a subclass that sets the class attributes and implements the abstract methods.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224, the side in px of the pictures in observations; None: observations have no pictures.
        low: (s,) lower bound of the state.
        high: (s,) upper bound of the state.

    Raises:
        GraspPlannerError: `render_mode` or `pixels` has another value.
    """

    state_names: ClassVar[tuple[str, ...]]
    action_size: ClassVar[int] = 2
    action_limit: ClassVar[float]

    def __init__(self, render_mode: str | None, pixels: int | None, low: np.ndarray, high: np.ndarray) -> None:
        if render_mode not in (None, "rgb_array"):
            raise GraspPlannerError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if pixels not in (None, *PICTURE_SIZES):
            raise GraspPlannerError(f"pixels must be None or one of {PICTURE_SIZES}, got {pixels!r}")
        self.render_mode = render_mode
        self.pixels = pixels
        parts: dict[str, spaces.Space] = {
            "state": spaces.Box(low, high, dtype=np.float64),
            "proprio": spaces.Box(self.proprio_of(low), self.proprio_of(high), dtype=np.float64),
        }
        if pixels is not None:
            parts["pixels"] = spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-self.action_limit, self.action_limit, (self.action_size,), np.float64)
        self.goal = np.zeros(len(low))
        self._has_state = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode from ``options["state"]`` to ``options["goal"]``. A missing state or goal is sampled."""
        super().reset(seed=seed)
        options = options or {}
        if not {"state", "goal"}.issuperset(options):
            raise GraspPlannerError(f"options may hold 'state' and 'goal', got {sorted(options)}")
        given = {name: value for name, value in options.items() if value is not None}
        sampled_state, sampled_goal = self._sample_pair(seed, given)
        state = self._checked(given.get("state", sampled_state))
        self.goal = self._checked(given.get("goal", sampled_goal))
        self.set_state(state)
        observation = self._observation()
        return observation, self._info(observation["state"]) | {"goal": self.goal.copy()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by one environment step under an action (a,)."""
        action = np.asarray(action, dtype=np.float64)
        size = self.action_size
        if action.shape != (size,) or not np.isfinite(action).all():
            count = "two" if size == 2 else size
            raise GraspPlannerError(f"an action is {count} finite numbers, shape ({size},); got {action!r}")
        self._need_state()
        self._advance(action)
        observation = self._observation()
        info = self._info(observation["state"])
        return observation, float(info["success"]), False, False, info

    def set_state(self, state: np.ndarray) -> None:
        """Put the world into `state` (s,).

        Raises:
            GraspPlannerError: the world cannot be in that state.
        """
        self._place(self._checked(state))
        self._has_state = True

    def get_state(self) -> np.ndarray:
        """Return the current state (s,), as a new float64 array.

        Raises:
            GraspPlannerError: neither `reset` nor `set_state` has been called.
        """
        self._need_state()
        return self._read()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Draw the current state, with `pixels` or 224 px a side; return None if `render_mode` is None."""
        if self.render_mode is None:
            return None
        return self._rendered(self.get_state(), self.pixels or 224)

    @staticmethod
    def proprio_of(state: np.ndarray) -> np.ndarray:
        """Return the proprioception (..., p) of states (..., s); by default the whole state."""
        return np.asarray(state).copy()

    @abstractmethod
    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random state (s,)."""

    @abstractmethod
    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """Draw any state (s,) as (size, size, 3) uint8. The current state does not change."""

    @abstractmethod
    def _sample_pair(self, seed: int | None, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return a start and a goal (s,) for `reset`. `given` replaces them where it has ``"state"`` or ``"goal"``."""

    @abstractmethod
    def _checked(self, state: np.ndarray) -> np.ndarray:
        """Return a float64 copy of `state` (s,), or a GraspPlannerError if the world cannot be in it."""

    @abstractmethod
    def _place(self, state: np.ndarray) -> None:
        """Put the world into a checked state (s,)."""

    @abstractmethod
    def _advance(self, action: np.ndarray) -> None:
        """Make one environment step under a checked action (a,)."""

    @abstractmethod
    def _read(self) -> np.ndarray:
        """Return a copy of the current state (s,)."""

    @abstractmethod
    def _judged(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return whether a state (s,) is at the goal, and its distances from the goal."""

    def _rendered(self, state: np.ndarray, size: int) -> np.ndarray:
        """Return the result of `render` for a state: its picture, unless a subclass adds something."""
        return self.picture(state, size)

    def _need_state(self) -> None:
        if not self._has_state:
            raise GraspPlannerError("the environment has no state yet: call reset() or set_state() first")

    def _observation(self) -> dict[str, np.ndarray]:
        state = self.get_state()
        observation = {"state": state, "proprio": self.proprio_of(state)}
        if self.pixels is not None:
            observation["pixels"] = self.picture(state, self.pixels)
        return observation

    def _info(self, state: np.ndarray) -> dict[str, Any]:
        success, distances = self._judged(state)
        return {"success": bool(success), **{name: float(value) for name, value in distances.items()}}


def published_generator(
    seed: int | None, otherwise: np.random.Generator
) -> np.random.Generator | np.random.RandomState:
    """Return DINO-WM's generator for a seed, ``RandomState(seed mod 2^32)``; `otherwise` if the seed is None.

    >>> published_generator(3, np.random.default_rng()).uniform() == np.random.RandomState(3).uniform()
    True
    """
    return otherwise if seed is None else np.random.RandomState(seed % 2**32)
