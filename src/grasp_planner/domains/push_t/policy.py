"""Push-T's scripted policy: it pushes and turns the T from all sides and keeps the T inside the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grasp_planner.domains.push_t.geometry import (
    CENTRE_OF_GRAVITY,
    HIGH,
    LOW,
    MOMENT,
    OUTLINE,
    PUSHER_RADIUS,
    Pose,
    inside_window,
    shortest_paths,
    sides,
)

CANDIDATES = 16  # random pushes, of which the best is chosen
WALL_MARGIN = 20.0  # px; a push ends when a corner of the T is this close to a wall and moves towards it
NOISE_MEMORY = 0.7  # correlation of the noise from step to step


@dataclass(frozen=True)
class _Push:
    """One push of the policy.

    Args:
        point: (2,) where the pusher touches the T, in the T's frame.
        direction: (2,) unit vector; in the T's frame if `follows`, else in the window.
        length: px that the pusher moves.
        speed: per environment step, in units of 100 px.
        follows: whether the direction turns with the block.
    """

    point: np.ndarray
    direction: np.ndarray
    length: float
    speed: float
    follows: bool


class PushTPolicy:
    """A policy that moves around the T, pushes it, and repeats. Every action is noisy.

    Each push is the best of 16 random pushes, which differ in side, point on the side, direction and length. A push is
    scored by where it moves the block (towards a random target around the middle, which changes every few pushes), by
    how it turns the block, and by the length of the path to its start. Noise on the scores keeps all sides in use. A
    frictionless push at lever arm l moves the centre of gravity by 1/(1 + l^2/I) of the push's length, along the
    side's normal. Between pushes there are free walks and bursts of uniform random actions, often in contact.

    Over 150 episodes of 200 environment steps:

    | quantity | this policy | DINO-WM's data |
    |---|---|---|
    | standard deviation of actions | 0.23 | 0.20 |
    | standard deviation of the block's x, y | 76, 78 px | 53, 57 px |
    | steps in contact | 43 % | |
    | stretches of five steps in which the block moves | 63 % | |
    | share of each of the eight sides in the contacts | 7 to 19 % | |

    The block's angle is nearly uniform, and no corner of the T leaves the walls.

    Args:
        noise: standard deviation of the noise on actions in units of 100 px, with correlation 0.7 per step. Each
            episode draws its own value, between half and twice this value.
        spread: standard deviation in px of the targets that the block is pushed to.
        walks: share of free walks among the walks, bursts and pushes.
        bursts: share of bursts of random actions among the walks, bursts and pushes.

    Example::

        policy = PushTPolicy()
        policy.reset(np.random.default_rng(0), observation["state"])
        action = policy.act(observation["state"])
    """

    def __init__(self, noise: float = 0.05, spread: float = 45.0, walks: float = 0.08, bursts: float = 0.15) -> None:
        self.noise, self.spread, self.walks, self.bursts = noise, spread, walks, bursts

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Begin an episode; all randomness comes from `rng`."""
        self._rng = rng
        self._noise = np.zeros(2)
        self._noise_scale = self.noise * 2 ** rng.uniform(-1, 1)
        self._pace = rng.uniform(0.8, 1.3)
        self._pushes_left = 0
        self._begin(np.asarray(state, dtype=np.float64))

    def act(self, state: np.ndarray) -> np.ndarray:
        """Return the action (2,), in units of 100 px, for a state (7,)."""
        state = np.asarray(state, dtype=np.float64)
        pusher, pose = state[:2], Pose(state[2:4], float(state[4]))
        self._steps_left -= 1
        if self._over(pusher, pose):
            self._begin(state)
        fresh = self._rng.standard_normal(2) * np.sqrt(1 - NOISE_MEMORY**2)
        self._noise = NOISE_MEMORY * self._noise + fresh * self._noise_scale
        action = self._intended(pusher, pose) + self._noise
        return np.clip(pusher + 100 * action, LOW, HIGH) / 100 - pusher / 100

    def _begin(self, state: np.ndarray) -> None:
        """Begin a burst of random actions, a walk, or a path to the start of a push and the push."""
        rng, pusher, pose = self._rng, state[:2], Pose(state[2:4], float(state[4]))
        self._path: list[np.ndarray] = []
        self._push: _Push | None = None
        self._burst = 0.0
        kind = rng.random()
        if kind < self.bursts:
            self._burst, self._steps_left = rng.uniform(0.2, 0.8), int(rng.integers(4, 13))
            return
        self._speed = self._pace * rng.uniform(0.25, 0.6)
        if kind < self.bursts + self.walks or not self._find_push(pusher, pose):
            lengths, found = shortest_paths(pose, pusher, rng.uniform(LOW + 20, HIGH - 20, (8, 2)))
            if not np.isfinite(lengths).any():  # no path exists: make random moves
                self._burst, self._steps_left = 0.5, 3
                return
            self._path = found[int(lengths.argmin())]
        self._steps_left = 60

    def _find_push(self, pusher: np.ndarray, pose: Pose) -> bool:
        rng = self._rng
        if self._pushes_left == 0:
            self._pushes_left = int(rng.integers(2, 7))
            self._goal = np.clip(rng.normal(256, self.spread, 2), 130, 382)
            self._turn = rng.normal()
        self._pushes_left -= 1
        starts, ends, normals = sides()
        side = rng.integers(0, 8, CANDIDATES)
        points = starts[side] + rng.uniform(0.05, 0.95, (CANDIDATES, 1)) * (ends - starts)[side]
        lengths = rng.uniform(30, 170, CANDIDATES)
        gap = PUSHER_RADIUS + rng.uniform(4, 8, (CANDIDATES, 1))
        before = pose.world(points - gap * normals[side])

        arm = points - CENTRE_OF_GRAVITY
        lever = arm[:, 0] * normals[side][:, 1] - arm[:, 1] * normals[side][:, 0]
        moved = (lengths / (1 + lever**2 / MOMENT))[:, None] * pose.turned(normals[side])
        turned = lengths / (1 + lever**2 / MOMENT) * lever / MOMENT
        centre = pose.world(CENTRE_OF_GRAVITY)
        nearer = np.linalg.norm(centre - self._goal) - np.linalg.norm(centre + moved - self._goal, axis=1)
        walk, found = shortest_paths(pose, pusher, before)
        worth = 1.5 * nearer + 25 * self._turn * turned - 0.3 * walk + rng.gumbel(0, 12, CANDIDATES)
        worth[~inside_window(before) | ~np.isfinite(walk)] = -np.inf
        best = int(worth.argmax())
        if not np.isfinite(worth[best]):
            return False
        tilt = rng.normal(0, 0.25)
        direction = Pose(np.zeros(2), tilt).turned(normals[side[best]])
        follows = bool(rng.random() < 0.5)
        self._path = found[best]
        self._push = _Push(
            points[best],
            direction if follows else pose.turned(direction),
            float(lengths[best]),
            float(self._pace * rng.uniform(0.08, 0.35)),
            follows,
        )
        self._travelled_from: np.ndarray | None = None
        return True

    def _over(self, pusher: np.ndarray, pose: Pose) -> bool:
        if self._steps_left <= 0:
            return True
        if self._burst:
            return False
        if self._path:
            while self._path and np.linalg.norm(self._path[0] - pusher) < (12 if len(self._path) > 1 else 6):
                self._path.pop(0)
            if self._path:
                return False
            if self._push is None:
                return True
            self._travelled_from, self._steps_left = pusher.copy(), 40
            return False
        assert self._push is not None and self._travelled_from is not None
        travelled = float(np.linalg.norm(pusher - self._travelled_from))
        missed = travelled > 30 and float(pose.distance(pusher)) > PUSHER_RADIUS + 8
        corners, direction = pose.world(OUTLINE), self._direction(pose)
        outwards = (corners.min(0) < 5 + WALL_MARGIN) & (direction < -0.2)
        outwards |= (corners.max(0) > 506 - WALL_MARGIN) & (direction > 0.2)
        return travelled > self._push.length or missed or bool(outwards.any())

    def _direction(self, pose: Pose) -> np.ndarray:
        assert self._push is not None
        return pose.turned(self._push.direction) if self._push.follows else self._push.direction

    def _intended(self, pusher: np.ndarray, pose: Pose) -> np.ndarray:
        if self._burst:
            return self._rng.uniform(-self._burst, self._burst, 2)
        if self._path:
            offset = (self._path[0] - pusher) / 100
            return offset * min(1.5, self._speed / max(float(np.linalg.norm(offset)), 1e-9))
        assert self._push is not None
        return self._push.speed * self._direction(pose)
