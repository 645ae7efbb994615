"""The physics of Push-T: a kinematic pusher under PD control and a T that slides without inertia."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, missing_extra

if TYPE_CHECKING:
    import pymunk

STATE_NAMES = ("pusher_x", "pusher_y", "block_x", "block_y", "block_angle", "pusher_vx", "pusher_vy")
WINDOW = 512.0  # px, the side of the window
SUBSTEP = 0.01  # s; physics at 100 Hz
SUBSTEPS = 10  # per environment step; control at 10 Hz
STIFFNESS = 100.0  # k_p, 1/s^2
DAMPING = 20.0  # k_v, 1/s
ACTION_SCALE = 100.0  # px per unit of action
PUSHER_RADIUS = 15.0
# The T in its own frame: the origin is the middle of the bar's outer edge, the stem points along +y.
BAR = ((-60.0, 30.0), (60.0, 30.0), (60.0, 0.0), (-60.0, 0.0))
STEM = ((-15.0, 30.0), (-15.0, 120.0), (15.0, 120.0), (15.0, 30.0))
WALLS = (((5, 506), (5, 5)), ((5, 5), (506, 5)), ((506, 5), (506, 506)), ((5, 506), (506, 506)))
WALL_RADIUS = 2.0


class Simulation:
    """One Push-T world that begins in a given state.

    A state can be set only by making a new simulation, so that no earlier contact or velocity has an effect. Each call
    of `step` repeats ten times

        v <- v + (k_p (target - p) - k_v v) dt,   then one physics step of dt,

    where p and v are the pusher's position and velocity, and ``target`` is its position before the first repetition
    + 100 * action.

    Args:
        state: (7,) pusher x, y, block x, y, theta, pusher vx, vy. The angle is set before the position. The order
            matters, since the centre of gravity (0, 45) is not the origin of the T. One physics step of dt follows, in
            which the pusher moves by v dt.

    Raises:
        MissingExtraError: pymunk is not installed.
    """

    def __init__(self, state: np.ndarray) -> None:
        try:
            import pymunk
        except ImportError as error:
            raise missing_extra("pymunk", "envs", "the Push-T simulator") from error

        self._space = pymunk.Space()
        self._space.gravity = (0, 0)
        self._space.damping = 0  # stops the block in each physics step, so that it moves only while it is pushed
        walls = [pymunk.Segment(self._space.static_body, a, b, WALL_RADIUS) for a, b in WALLS]
        self._space.add(*walls)
        self._pusher = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        self._space.add(self._pusher, pymunk.Circle(self._pusher, PUSHER_RADIUS))
        self._block = _add_tee(self._space)

        pusher_x, pusher_y, block_x, block_y, theta, speed_x, speed_y = state.tolist()
        self._pusher.velocity = (speed_x, speed_y)
        self._pusher.position = (pusher_x, pusher_y)
        self._block.angle = theta
        self._block.position = (block_x, block_y)
        self._space.step(SUBSTEP)

    def step(self, action_x: float, action_y: float) -> None:
        """Make one environment step (0.1 s) under an action in units of 100 px."""
        pusher, space = self._pusher, self._space
        x, y = pusher.position
        speed_x, speed_y = pusher.velocity
        target_x, target_y = x + ACTION_SCALE * action_x, y + ACTION_SCALE * action_y
        for _ in range(SUBSTEPS):
            speed_x += (STIFFNESS * (target_x - x) - DAMPING * speed_x) * SUBSTEP
            speed_y += (STIFFNESS * (target_y - y) - DAMPING * speed_y) * SUBSTEP
            pusher.velocity = (speed_x, speed_y)
            space.step(SUBSTEP)
            x, y = pusher.position

    def state(self) -> np.ndarray:
        """Return the state (7,) float64: pusher x, y, block x, y, theta in [0, 2 pi), pusher vx, vy."""
        theta = self._block.angle % (2 * math.pi)
        return np.array(
            (*self._pusher.position, *self._block.position, theta, *self._pusher.velocity), dtype=np.float64
        )

    def contact_marks(self) -> np.ndarray:
        """Return the contact marks (n, 2, 2) of the current state, see the function `contact_marks`."""
        lines: list[list[list[float]]] = []

        def mark(arbiter: pymunk.Arbiter) -> None:
            contacts = arbiter.contact_point_set
            for point in contacts.points:
                ends = (point.point_a - 2 * contacts.normal, point.point_b + 2 * contacts.normal)
                lines.append([list(end) for end in ends])

        self._block.each_arbiter(mark)
        return np.array(lines).reshape(-1, 2, 2)


def _add_tee(space: pymunk.Space) -> pymunk.Body:
    import pymunk

    # As in DINO-WM, the moment of inertia counts the bar twice and omits the stem, and the centre of gravity is midway
    # between those of bar and stem, independent of their areas. Both facts affect how the block turns.
    block = pymunk.Body(mass=1, moment=2 * pymunk.moment_for_poly(1, BAR))
    bar, stem = pymunk.Poly(block, BAR), pymunk.Poly(block, STEM)
    block.center_of_gravity = (bar.center_of_gravity + stem.center_of_gravity) / 2
    space.add(block, bar, stem)
    return block


def contact_marks(state: np.ndarray) -> np.ndarray:
    """Return the short lines that pymunk's debug drawing makes where bodies touch, along the normal of the contact.

    Each line reaches 2 px beyond the surfaces on both sides.

    Returns:
        (n, 2, 2) px: n lines, two ends, x and y.
    """
    still = np.array(state, dtype=np.float64)
    still[5:] = 0.0  # the pusher must not move in the physics step that finds the contacts
    return Simulation(still).contact_marks()


def sample_state(rng: np.random.Generator) -> np.ndarray:
    """Sample a state (7,) from DINO-WM's distribution.

    The pusher is uniform on {50, ..., 449}^2, the block on {100, ..., 399}^2. The angle is 2 pi n - pi (mod 2 pi) for
    a standard normal n. Nothing moves.
    """
    pusher, block = rng.integers(50, 450, size=2), rng.integers(100, 400, size=2)
    theta = (2 * np.pi * rng.standard_normal() - np.pi) % (2 * np.pi)
    return np.array([*pusher, *block, theta, 0.0, 0.0])


def checked_state(state: np.ndarray) -> np.ndarray:
    """Return a float64 copy of a state (7,).

    Raises:
        GraspPlannerError: the state has another shape, or a number is not finite.
    """
    state = np.array(state, dtype=np.float64)
    if state.shape != (7,) or not np.isfinite(state).all():
        raise GraspPlannerError(f"a state is seven finite numbers {STATE_NAMES}, shape (7,); got {state!r}")
    return state
