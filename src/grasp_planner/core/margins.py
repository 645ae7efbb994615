"""Ready-made events of single steps: balls, boxes, and limits on the change of actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from grasp_planner.core.events import Margin

Read = Callable[[Tensor], Tensor]
"""A function of states (b, k, s) that returns a quantity of each state, (b, k, d)."""


def inside_ball(read: Read, centre: Sequence[float] | Tensor, radius: float, scale: float = 1.0) -> Margin:
    """Return the event of a step that a quantity is inside of a ball: margin (radius - |read(s) - centre|) / scale.

    The negation ``~inside_ball(...)`` keeps out of the ball.

    Args:
        read: function of states ``(b, k, s)``, in the model's own units, that returns the quantity ``(b, k, d)``.
        centre: ``(d,)`` centre of the ball, in the units of the quantity.
        radius: radius, in the same units.
        scale: typical size of a distance, see :class:`Margin`.

    Raises:
        GraspPlannerError: see :class:`Margin`.

    Example:
        >>> from grasp_planner import always
        >>> zone = inside_ball(lambda states: states[..., :2], centre=(0.0, 0.0), radius=1.0)
        >>> always(~zone).margin(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]), torch.zeros(1, 1, 2))
        tensor([1.])
    """

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        found = read(states)
        return radius - torch.linalg.vector_norm(found - torch.as_tensor(centre).to(found), dim=-1)

    return Margin(margin, scale)


def inside_box(read: Read, low: Sequence[float] | Tensor, high: Sequence[float] | Tensor, scale: float = 1.0) -> Margin:
    """Return the event of a step that a quantity is inside of a box: the margin is the distance to the nearest side.

        margin  =  min over coordinates of  min(read(s)_i - low_i, high_i - read(s)_i) / scale

    Args:
        read: function of states ``(b, k, s)``, in the model's own units, that returns the quantity ``(b, k, d)``.
        low: ``(d,)`` lower sides, in the units of the quantity; may be ``-inf``.
        high: ``(d,)`` upper sides; may be ``inf``.
        scale: typical size of a distance, see :class:`Margin`.

    Raises:
        GraspPlannerError: see :class:`Margin`.

    Example:
        >>> from grasp_planner import eventually
        >>> door = inside_box(lambda states: states[..., :2], low=(4.0, 2.0), high=(6.0, 3.0))
        >>> eventually(door).margin(torch.tensor([[[0.0, 0.0], [5.0, 2.5]]]), torch.zeros(1, 1, 2))
        tensor([0.5000])
    """

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        found = read(states)
        sides = torch.as_tensor(low).to(found), torch.as_tensor(high).to(found)
        return torch.minimum(found - sides[0], sides[1] - found).amin(-1)

    return Margin(margin, scale)


def action_rate(limit: float, scale: float = 1.0) -> Margin:
    """Return the event of a step that no coordinate of the action changes by more than a limit since the step before.

        margin_t  =  (limit - max_i |a_t,i - a_{t-1},i|) / scale,    margin_0  =  limit / scale

    Args:
        limit: largest change, in the model's action units in one model step.
        scale: typical size of a change, see :class:`Margin`.

    Raises:
        GraspPlannerError: see :class:`Margin`.

    Example:
        >>> from grasp_planner import always
        >>> always(action_rate(0.5)).margin(torch.zeros(1, 4, 2), torch.tensor([[[0.0], [0.2], [1.0]]]))
        tensor([-0.3000])
    """

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        before = torch.cat([actions[:, :1], actions[:, :-1]], dim=1)
        return limit - (actions - before).abs().amax(-1)

    return Margin(margin, scale)
