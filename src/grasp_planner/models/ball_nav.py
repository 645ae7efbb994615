"""BallNav as a world model: the exact dynamics of the environment in torch, batched and differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem
from grasp_planner.domains.ball_nav.physics import (
    MAPS,
    PACE,
    RADIUS,
    SIZE,
    SOFTNESS,
    TINY,
    checked_pace,
    sample_pair,
    walls_of,
)


@dataclass(frozen=True)
class BallNav:
    """The exact dynamics of the environment ``BallNav-v1``: a ball in a room with thin walls.

        F(p, (u_1 .. u_k)) = f(.. f(f(p, u_1), u_2) .., u_k),    f(p, u) = contact(p + pace * u)

    The latent is the position (x, y) in m. A model action is a block of k = ``frameskip`` pushes. ``contact`` softly
    moves a ball that would come closer than its radius to a wall out along the wall's normal; its formula is in
    ``grasp_planner.domains.ball_nav.physics.step_points``. Walls block the straight path to a goal. A ball that is
    always pushed towards the goal ends at a wall, so local optimisation of a plan can stop in a local minimum.

    Args:
        map: a name in ``MAPS``: ``"cup"``, ``"wall"``, ``"hook"``, ``"slalom"``.
        pace: distance in m that a push of 1 along an axis moves the ball in one environment step. At half the pace, the
            same path takes twice as many environment steps.
        frameskip: environment steps in a model step.
        dtype: dtype of bounds, scale and encoded states.
        device: device of bounds, scale and encoded states.

    Raises:
        GraspPlannerError: no map has that name, the pace could carry the ball across walls, or frameskip < 1.

    Example:
        >>> from grasp_planner import GRASP, Budget, plan
        >>> problem = BallNav().problem(batch=4, horizon=12)
        >>> found = plan(problem, GRASP(), Budget(steps=5))
        >>> found.actions.shape
        torch.Size([4, 12, 10])

    Source: ours. The GRASP paper's material mentions the name BallNav without a definition.
    """

    map: str = "cup"
    pace: float = PACE
    frameskip: int = 5
    dtype: torch.dtype = torch.float64
    device: str | torch.device = "cpu"

    context = 1

    def __post_init__(self) -> None:
        walls_of(self.map)
        checked_pace(self.pace)
        if isinstance(self.frameskip, bool) or not isinstance(self.frameskip, int) or self.frameskip < 1:
            raise GraspPlannerError(f"BallNav.frameskip must be an integer >= 1, got {self.frameskip!r}")

    @property
    def low(self) -> Float[Tensor, " a"]:
        """(2 frameskip,): the lower bounds of the pushes, -1."""
        return torch.full((2 * self.frameskip,), -1.0, dtype=self.dtype, device=self.device)

    @property
    def high(self) -> Float[Tensor, " a"]:
        """(2 frameskip,): the upper bounds of the pushes, 1."""
        return torch.full((2 * self.frameskip,), 1.0, dtype=self.dtype, device=self.device)

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(2,) in m: the standard deviation of a position that is uniform in the room."""
        return torch.full((2,), (SIZE - 2 * RADIUS) / 12**0.5, dtype=self.dtype, device=self.device)

    def __call__(self, states: Float[Tensor, "n 1 s"], actions: Float[Tensor, "n 1 a"]) -> Float[Tensor, "n s"]:
        """Return the positions after each block of pushes."""
        position = states[:, -1]
        starts, ends = _walls(self.map, position.dtype, position.device)
        for push in actions[:, -1].unflatten(-1, (self.frameskip, 2)).unbind(1):
            position = _contact(torch.add(position, push, alpha=self.pace), starts, ends)
        return position

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Return the positions ``observations["state"]`` (b, h, 2) as tensors.

        Raises:
            GraspPlannerError: there is no ``"state"``, or it has another shape.
        """
        if "state" not in observations:
            raise GraspPlannerError(f"BallNav encodes observations with 'state', got {sorted(observations)}")
        state = torch.as_tensor(observations["state"]).to(dtype=self.dtype, device=self.device)
        if state.ndim != 3 or state.shape[-1] != 2:
            raise GraspPlannerError(f"observations['state'] must be (b, h, 2), got {tuple(state.shape)}")
        return state

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Return the environment's states, which are the latents."""
        return latents

    def problem(self, batch: int, horizon: int, seed: int = 0) -> Problem:
        """Sample problems whose starts and goals have the environment's distribution.

        Args:
            batch: b, the number of problems.
            horizon: T in model steps. A path around the walls takes about ``11 / (pace * frameskip)`` model steps, see
                ``grasp_planner.domains.ball_nav.paths.path_steps``.
            seed: seed of the starts and goals. Problem i depends only on the seed and on i.
        """
        pairs = [sample_pair(np.random.default_rng((seed, i))) for i in range(batch)]
        start, goal = torch.from_numpy(np.array(pairs)).to(dtype=self.dtype, device=self.device).unbind(1)
        return Problem.between(self, start, goal, horizon, self.low, self.high, scale=self.scale)


def _contact(moved: Float[Tensor, "n 2"], starts: Float[Tensor, "w 2"], ends: Float[Tensor, "w 2"]) -> Tensor:
    """Return the contact term of `physics.step_points`, with the same operations."""
    point = moved[:, None]
    away = point - torch.minimum(torch.maximum(point, starts), ends)
    distance = (away.square().sum(-1) + TINY**2).sqrt()
    out = ((_soft(RADIUS - distance) / distance)[..., None] * away).sum(1)
    return moved + out + _soft(RADIUS - moved) - _soft(moved - (SIZE - RADIUS))


def _soft(depth: Tensor) -> Tensor:
    # torch replaces the logarithm by its argument beyond a threshold; the default of 20 is an error of 1e-10 m.
    return softplus(depth, beta=1.0 / SOFTNESS, threshold=40.0)


@lru_cache(maxsize=4 * len(MAPS))
def _walls(map: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return starts and ends (w, 2) of the walls. The result is cached, since every step uses it."""
    with torch.inference_mode(False):
        walls = torch.from_numpy(walls_of(map)).to(dtype=dtype, device=device)
        return walls[:, :2], walls[:, 2:]
