"""Symmetries of a task's dynamics, used to augment its data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes
from grasp_planner.models.state.push_t import CENTRE

IMAGES = 3
"""Images of each episode that ``with_images`` adds."""

Symmetry = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def push_t(
    states: Float[Tensor, "n t 7"], actions: Float[Tensor, "n t_less_1 2"], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rotate each window by a random multiple of 90 degrees about the arena's centre, and mirror half of the windows.

    The walls of Push-T form a square, and the T is its own mirror image: mirroring x maps theta to -theta.

    Raises:
        GraspPlannerError: a state is not 7 numbers, or an action is not 2 numbers.

    >>> import torch
    >>> states, actions = torch.rand(3, 2, 7), torch.rand(3, 1, 2)
    >>> turned, _ = push_t(states, actions, torch.Generator().manual_seed(0))
    >>> distance = lambda s: (s[..., :2] - s[..., 2:4]).norm(dim=-1)
    >>> torch.allclose(distance(turned), distance(states), atol=1e-4)
    True
    """
    if (states.shape[-1], actions.shape[-1]) != (7, 2):
        raise GraspPlannerError(
            "the symmetry 'push_t' needs states of 7 numbers and actions of 2 numbers, got "
            f"{states.shape[-1]} and {actions.shape[-1]}"
        )
    rows, device = states.shape[0], generator.device
    quarter = torch.randint(4, (rows,), generator=generator, device=device).to(states)
    mirror = (torch.randint(2, (rows,), generator=generator, device=device) * 2 - 1).to(states)
    turn = quarter * (torch.pi / 2)
    cos, sin = turn.cos().round(), turn.sin().round()
    # Mirror x first, then turn: rows of the matrix act on column vectors (x, y).
    matrix = torch.stack([cos * mirror, -sin, sin * mirror, cos], dim=-1).reshape(rows, 1, 2, 2)

    def turned(vectors: Tensor) -> Tensor:
        return (matrix @ vectors.unsqueeze(-1)).squeeze(-1)

    position, block, angle, velocity = states.split((2, 2, 1, 2), dim=-1)
    angle = angle * mirror[:, None, None] + turn[:, None, None]
    parts = [turned(position - CENTRE) + CENTRE, turned(block - CENTRE) + CENTRE, angle, turned(velocity)]
    return torch.cat(parts, dim=-1), turned(actions)


SYMMETRIES: dict[str, Symmetry] = {"push_t": push_t}


def with_images(episodes: Episodes, name: str, seed: int) -> Episodes:
    """Add three images of each episode under random elements of a symmetry. Only states and actions are kept.

    >>> walks = Episodes.of([{"state": np.zeros((6, 7))}] * 2, [np.zeros((5, 2))] * 2)
    >>> len(with_images(walks, "push_t", seed=0))
    8
    """
    generator = torch.Generator().manual_seed(seed)
    originals = [episodes.episode(index) for index in range(len(episodes))]
    states = [{"state": one["state"]} for one in originals]
    actions = [one["actions"] for one in originals]
    for one in originals * IMAGES:
        path, moves = (torch.from_numpy(np.array(one[key], np.float64))[None] for key in ("state", "actions"))
        single = moves.reshape(1, -1, episodes.action_dim)  # a data step can hold several environment actions
        path, single = SYMMETRIES[name](path, single, generator)
        states.append({"state": path[0].numpy()})
        actions.append(single.reshape(moves.shape[1:]).numpy())
    return Episodes.of(states, actions, frameskip=episodes.frameskip)
