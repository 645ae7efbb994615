"""PointMaze as in DINO-WM: a ball with inertia in a U-shaped maze, on MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.point_maze import physics
from grasp_planner.domains.point_maze.picture import top_down
from grasp_planner.domains.point_maze.task import distances, success
from grasp_planner.domains.world import World, published_generator

if TYPE_CHECKING:
    from grasp_planner.domains.point_maze.gl import Camera

RENDERERS = ("top_down", "mujoco")


class PointMaze(World):
    """Two motors drive a ball with inertia through a U-shaped corridor, 1 m wide, to a goal position.

    **State** (4): x, y in m and vx, vy in m/s. The ends of the U are near (0.8, 0.8) and (2.8, 0.8), its bottom is at
    y = 2.8. **Proprioception**: the state. **Action** (2): motor commands, clipped to [-1, 1]; a command of 1 is a
    force of 100 N on 4.19 kg. **Dynamics**: each joint velocity is clipped to [-5, 5], then MuJoCo makes five physics
    steps of 0.01 s. One full action from rest gives 1.185 m/s; the top speed of a joint is 6.13 m/s. **Success**: less
    than 0.5 m from the goal position, at any velocity. **Info**: ``success``, ``position_m`` and ``velocity_m_s``; see
    `World` for the rest.

    ``reset(seed=n)`` gives the same start and goal as the original with seed n: they are drawn from
    ``RandomState(n mod 2^32)``. A reset without a seed continues the random stream.

    The next state depends only on the state and the action, so ``set_state(get_state())`` changes nothing.

    Args:
        render_mode: ``"rgb_array"`` or None.
        pixels: 64 or 224, the side of the pictures in observations; None: no pictures.
        renderer: ``"mujoco"`` draws DINO-WM's view; it needs EGL or OSMesa and takes about 5 ms a picture.
            ``"top_down"`` draws a closer view with numpy in 0.05 ms at 64 px, see `picture.top_down`. None:
            ``"mujoco"`` for ``pixels=224``, which DINO-WM's checkpoints expect, else ``"top_down"``.

    Raises:
        GraspPlannerError: a setting has another value.

    Source: the `point_maze` environment of DINO-WM (arXiv 2411.04983), https://github.com/gaoyuezhou/dino_wm, which is
    D4RL's maze2d-umaze with five physics steps per action. Differences: states are float64; the contact solver keeps
    no memory between steps (states after 100 random steps differ by less than 1e-8); the reward refers to the goal
    (in the original to a target outside the maze). gymnasium-robotics' PointMaze_UMaze is another environment: it has
    one physics step per action, other coordinates and another threshold.

    >>> env = PointMaze()
    >>> observation, info = env.reset(seed=0, options={"state": np.array([0.8, 0.8, 0.0, 0.0])})
    >>> observation, reward, terminated, truncated, info = env.step(np.array([0.0, 1.0]))
    >>> observation["state"].round(3).tolist()
    [0.8, 0.836, 0.0, 1.185]
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    state_names: ClassVar[tuple[str, ...]] = physics.STATE_NAMES
    action_limit: ClassVar[float] = 1.0

    def __init__(self, render_mode: str | None = None, pixels: int | None = None, renderer: str | None = None) -> None:
        super().__init__(render_mode, pixels, low=physics.STATE_LOW, high=physics.STATE_HIGH)
        if renderer not in (None, *RENDERERS):
            raise GraspPlannerError(f"renderer must be None or one of {RENDERERS}, got {renderer!r}")
        self.renderer = renderer or ("mujoco" if pixels == 224 else "top_down")
        self._simulation = physics.Simulation()
        self._camera: Camera | None = None

    def sample_state(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a start (4,) from DINO-WM's distribution, see `physics.sample_state`."""
        return physics.sample_state(rng)

    def picture(self, state: np.ndarray, size: int = 224) -> np.ndarray:
        """Draw any state (4,) with the environment's renderer, as (size, size, 3) uint8.

        Raises:
            GraspPlannerError: the renderer is ``"mujoco"``, and neither EGL nor OSMesa works on this machine.
        """
        if self.renderer == "top_down":
            return top_down(state, size)
        from grasp_planner.domains.point_maze.gl import Camera

        if self._camera is None or self._camera.size != size:
            self.close()
            self._camera = Camera(self._simulation.model, size)
        return self._camera.picture(state)

    def close(self) -> None:
        """Release the OpenGL resources, if there are any."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _sample_pair(self, seed: int | None, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        rng = published_generator(seed, self.np_random)
        return physics.sample_state(rng), physics.sample_state(rng)

    def _checked(self, state: np.ndarray) -> np.ndarray:
        return physics.checked_state(state)

    def _place(self, state: np.ndarray) -> None:
        self._simulation.place(state)

    def _advance(self, action: np.ndarray) -> None:
        self._simulation.step(action)

    def _read(self) -> np.ndarray:
        return self._simulation.state()

    def _judged(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return success(state, self.goal), distances(state, self.goal)
