"""BallNav's scripted policy: it moves from one random target to the next, mostly on shortest paths, with noise."""

from __future__ import annotations

import numpy as np

from grasp_planner.domains.ball_nav.paths import shortest_path
from grasp_planner.domains.ball_nav.physics import PACE, sample_free, walls_of

ARRIVED = 0.4  # m from a corner of the path within which the corner counts as reached
STRAIGHT = 0.3  # share of the legs that go straight to their target, through walls too, so that data contain contact
PATIENCE = 40  # environment steps after which a leg ends
NOISE = 0.3  # standard deviation of the noise on a push
SLOWEST = 0.4  # least speed of a leg; speeds are uniform up to 1


class BallNavPolicy:
    """A policy that moves to one uniformly sampled target after another; with `goal`, it moves to the goal.

    Each leg has its own speed from U(0.4, 1). Seven in ten legs follow the shortest path; three in ten go straight to
    the target and push against the walls. A leg ends within 0.4 m of its target or after 40 environment steps. Normal
    noise with standard deviation 0.3 is added to every push, which is then clipped to [-1, 1].

    Args:
        map: map of the environment, a name in `physics.MAPS`.
    pace: pace of the environment.
        goal: (2,) m: if given, go there on the shortest path at full speed, without noise, and stay.

    Source: ours.

    >>> policy = BallNavPolicy()
    >>> policy.reset(np.random.default_rng(0), np.array([2.0, 5.0]))
    >>> policy.act(np.array([2.0, 5.0])).shape
    (2,)
    """

    def __init__(self, map: str = "cup", pace: float = PACE, goal: np.ndarray | None = None) -> None:
        self.map, self.pace, self.goal = map, pace, goal
        self.walls = walls_of(map)

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode in `state`; all randomness comes from `rng`."""
        self._rng = rng
        self._new_leg(state)

    def act(self, state: np.ndarray) -> np.ndarray:
        """Return the next push (2,), within [-1, 1]."""
        if self.goal is None and (self._steps >= PATIENCE or (len(self._path) == 1 and self._near(state))):
            self._new_leg(state)
        while len(self._path) > 1 and self._near(state):
            self._path = self._path[1:]
        self._steps += 1
        towards = self._path[0] - state
        push = self._speed * towards / max(np.abs(towards).max(), self.pace)
        if self.goal is not None:
            return push
        return np.clip(push + NOISE * self._rng.standard_normal(2), -1.0, 1.0)

    def _near(self, state: np.ndarray) -> bool:
        return bool(((self._path[0] - state) ** 2).sum() < ARRIVED**2)

    def _new_leg(self, state: np.ndarray) -> None:
        self._steps = 0
        if self.goal is not None:
            self._speed, self._path = 1.0, shortest_path(self.map, state, self.goal)[1:]
            return
        target = sample_free(self._rng, self.walls)
        straight = self._rng.uniform() < STRAIGHT
        self._path = target[None] if straight else shortest_path(self.map, state, target)[1:]
        self._speed = self._rng.uniform(SLOWEST, 1.0)
