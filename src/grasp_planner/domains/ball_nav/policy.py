"""The scripted policy of BallNav: wanders from place to place, mostly the shortest way, with noise."""

from __future__ import annotations

import numpy as np

from grasp_planner.domains.ball_nav.paths import shortest_path
from grasp_planner.domains.ball_nav.world import PACE, sample_free, walls_of

ARRIVED = 0.4  # m from a corner of the way: on to the next
STRAIGHT = 0.3  # share of the legs that go straight at the place, walls or not: so that contact is seen too
PATIENCE = 40  # steps, after which a leg is given up
NOISE = 0.3  # standard deviation of the noise on a push
SLOWEST = 0.4  # of a leg's speed, which is uniform up to 1


class BallNavPolicy:
    """Goes to uniform places one after the other; the same class also shows that a problem can be solved.

    Each leg has a speed of its own, in U(0.4, 1). Seven in ten follow the shortest way, three in ten go straight at
    the place and so push against the walls. A leg ends within 0.4 m or after 40 steps. Normal noise of 0.3 is added
    to every push, which is then clipped to [-1, 1].

    Args:
        map: of the environment, see `ball_nav.world.MAPS`.
        pace: of the environment.
        goal: (2,) m: go there by the shortest way at full speed without noise, and stay.

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
        """The next push (2,), within [-1, 1]."""
        if self.goal is None and (self._steps >= PATIENCE or (len(self._way) == 1 and self._near(state))):
            self._new_leg(state)
        while len(self._way) > 1 and self._near(state):
            self._way = self._way[1:]
        self._steps += 1
        towards = self._way[0] - state
        push = self._speed * towards / max(np.abs(towards).max(), self.pace)
        if self.goal is not None:
            return push
        return np.clip(push + NOISE * self._rng.standard_normal(2), -1.0, 1.0)

    def _near(self, state: np.ndarray) -> bool:
        return bool(((self._way[0] - state) ** 2).sum() < ARRIVED**2)

    def _new_leg(self, state: np.ndarray) -> None:
        self._steps = 0
        if self.goal is not None:
            self._speed, self._way = 1.0, shortest_path(self.map, state, self.goal)[1:]
            return
        place = sample_free(self._rng, self.walls)
        straight = self._rng.uniform() < STRAIGHT
        self._way = place[None] if straight else shortest_path(self.map, state, place)[1:]
        self._speed = self._rng.uniform(SLOWEST, 1.0)
