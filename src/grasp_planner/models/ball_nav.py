"""BallNav as a world model: the exact dynamics of its world in torch, batched and differentiable."""

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
    """A ball in a room with thin walls: the dynamics of the environment ``BallNav-v1``, known exactly.

        F(p, (u_1 .. u_k)) = f(.. f(f(p, u_1), u_2) .., u_k),    f(p, u) = contact(p + pace * u)

    The latent is the position (x, y) in m; a model action is a block of k = ``frameskip`` pushes. ``contact`` moves a
    ball that would come closer than its radius to a wall out along the wall's normal, softly; it is written out in
    ``grasp_planner.domains.ball_nav.physics.step_points``. The straight way to a goal is blocked, and always pushing
    towards the goal ends at a wall, so that plans that improve greedily have local minima to stick in.

    Args:
        map: a name in ``MAPS``: ``"cup"``, ``"wall"``, ``"hook"``, ``"slalom"``.
        pace: m that a push of 1 along an axis moves the ball in one environment step. The knob for the horizon: at half
            the pace the same journey takes twice the steps.
        frameskip: environment steps in a model step.
        dtype: of bounds, scale and encoded states.
        device: likewise.

    Raises:
        GraspPlannerError: there is no such map, the pace would carry the ball across walls, frameskip < 1.

    Example:
        >>> from grasp_planner import GRASP, Budget, plan
        >>> problem = BallNav().problem(batch=4, horizon=12)
        >>> found = plan(problem, GRASP(), Budget(steps=5))
        >>> found.actions.shape
        torch.Size([4, 12, 10])

    Source: ours. The name BallNav stands in the GRASP paper's material, without a definition.
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
        """(2 frameskip,) the strongest pushes back."""
        return torch.full((2 * self.frameskip,), -1.0, dtype=self.dtype, device=self.device)

    @property
    def high(self) -> Float[Tensor, " a"]:
        """(2 frameskip,) the strongest pushes forward."""
        return torch.full((2 * self.frameskip,), 1.0, dtype=self.dtype, device=self.device)

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(2,) m: the standard deviation of a ball that is anywhere in the room, walls aside."""
        return torch.full((2,), (SIZE - 2 * RADIUS) / 12**0.5, dtype=self.dtype, device=self.device)

    def __call__(self, states: Float[Tensor, "n 1 s"], actions: Float[Tensor, "n 1 a"]) -> Float[Tensor, "n s"]:
        """The positions after a block of pushes each."""
        position = states[:, -1]
        starts, ends = _walls(self.map, position.dtype, position.device)
        for push in actions[:, -1].unflatten(-1, (self.frameskip, 2)).unbind(1):
            position = _contact(torch.add(position, push, alpha=self.pace), starts, ends)
        return position

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """The positions under ``"state"``, as they are."""
        if "state" not in observations:
            raise GraspPlannerError(f"BallNav encodes observations with 'state', got {sorted(observations)}")
        state = torch.as_tensor(observations["state"]).to(dtype=self.dtype, device=self.device)
        if state.ndim != 3 or state.shape[-1] != 2:
            raise GraspPlannerError(f"observations['state'] must be (b, h, 2), got {tuple(state.shape)}")
        return state

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """The latents themselves."""
        return latents

    def problem(self, batch: int, horizon: int, seed: int = 0) -> Problem:
        """Problems between starts and goals drawn as the environment draws them; problem i depends on (seed, i) only.

        Args:
            batch: b.
            horizon: T, model steps. A way round the walls takes about ``11 / (pace * frameskip)`` of them, see
                ``grasp_planner.domains.ball_nav.paths.path_steps``.
            seed: which problems.
        """
        pairs = [sample_pair(np.random.default_rng((seed, i))) for i in range(batch)]
        start, goal = torch.from_numpy(np.array(pairs)).to(dtype=self.dtype, device=self.device).unbind(1)
        return Problem.between(self, start, goal, horizon, self.low, self.high, scale=self.scale)


def _contact(moved: Float[Tensor, "n 2"], starts: Float[Tensor, "w 2"], ends: Float[Tensor, "w 2"]) -> Tensor:
    """`world.step_points` after the push, operation by operation."""
    point = moved[:, None]
    away = point - torch.minimum(torch.maximum(point, starts), ends)
    distance = (away.square().sum(-1) + TINY**2).sqrt()
    out = ((_soft(RADIUS - distance) / distance)[..., None] * away).sum(1)
    return moved + out + _soft(RADIUS - moved) - _soft(moved - (SIZE - RADIUS))


def _soft(depth: Tensor) -> Tensor:
    # torch cuts the logarithm off at a threshold of 20 unless told otherwise, an error of 1e-10 m.
    return softplus(depth, beta=1.0 / SOFTNESS, threshold=40.0)


@lru_cache(maxsize=4 * len(MAPS))
def _walls(map: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Starts and ends (w, 2) of the walls; kept, since they are wanted at every step."""
    with torch.inference_mode(False):
        walls = torch.from_numpy(walls_of(map)).to(dtype=dtype, device=device)
        return walls[:, :2], walls[:, 2:]
