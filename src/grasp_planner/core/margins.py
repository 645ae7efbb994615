"""Ready-made events of single steps: balls, boxes, limits on the change of actions, and ways between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import not_negative
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.events import Margin, Path

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
        GraspPlannerError: ``radius`` is not a number >= 0; see :class:`Margin`; or, when it is evaluated, ``centre`` is
            not ``(d,)``.

    Example:
        >>> from grasp_planner import always
        >>> zone = inside_ball(lambda states: states[..., :2], centre=(0.0, 0.0), radius=1.0)
        >>> always(~zone).margin(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]), torch.zeros(1, 1, 2))
        tensor([1.])
    """
    not_negative("inside_ball.radius", radius)

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        found = read(states)
        return radius - torch.linalg.vector_norm(found - _like(found, centre, "inside_ball.centre"), dim=-1)

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
        GraspPlannerError: a lower side is above the upper side; see :class:`Margin`; or, when it is evaluated, ``low``
            or ``high`` is not ``(d,)``.

    Example:
        >>> from grasp_planner import eventually
        >>> door = inside_box(lambda states: states[..., :2], low=(4.0, 2.0), high=(6.0, 3.0))
        >>> eventually(door).margin(torch.tensor([[[0.0, 0.0], [5.0, 2.5]]]), torch.zeros(1, 1, 2))
        tensor([0.5000])
    """
    least, most = (torch.as_tensor(side, dtype=torch.float64, device="cpu") for side in (low, high))
    if least.shape == most.shape and not bool((least <= most).all()):
        raise GraspPlannerError(
            f"inside_box.low must be at most inside_box.high, got {least.tolist()} and {most.tolist()}"
        )

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        found = read(states)
        above, below = found - _like(found, low, "inside_box.low"), _like(found, high, "inside_box.high") - found
        return torch.minimum(above, below).amin(-1)

    return Margin(margin, scale)


def action_rate(limit: float, scale: float = 1.0, *, frameskip: int = 1) -> Margin:
    """Return the event of a step that no coordinate of the action changes by more than a limit since the step before.

        margin_t  =  (limit - max_i |a_t,i - a_{t-1},i|) / scale,    with a_{-1} = a_0 and a_T = a_{T-1}

    Args:
        limit: largest change of a coordinate between two actions, in the model's action units.
        scale: typical size of a change, see :class:`Margin`.
        frameskip: number of environment actions in an action of the model. With more than one, each environment action
            is compared with the environment action before it, also inside of a model step; the largest change counts.

    Raises:
        GraspPlannerError: ``limit`` is not a number >= 0; see :class:`Margin`; or, when it is evaluated, an action does
            not divide into ``frameskip`` equal parts.

    Example:
        >>> from grasp_planner import always
        >>> always(action_rate(0.5)).margin(torch.zeros(1, 4, 2), torch.tensor([[[0.0], [0.2], [1.0]]]))
        tensor([-0.3000])
    """
    not_negative("action_rate.limit", limit)

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        if frameskip < 1 or actions.shape[-1] % frameskip:
            raise GraspPlannerError(
                f"action_rate.frameskip must divide the {actions.shape[-1]} coordinates of an action, got {frameskip}"
            )
        single = actions.unflatten(-1, (frameskip, -1)).flatten(1, 2)
        changes = torch.cat([torch.zeros_like(single[:, :1]), single.diff(dim=1)], dim=1).abs()
        largest = changes.unflatten(1, (-1, frameskip)).amax((2, 3))
        return limit - torch.cat([largest, torch.zeros_like(largest[:, :1])], dim=1)

    return Margin(margin, scale)


def along_the_way(event: Margin, points: int) -> Margin:
    """Return the event of a step that an event of states holds at every point of the way from the step before.

        margin_t  =  min over j = 1 .. n of margin(s_{t-1} + (s_t - s_{t-1}) j / n),    margin_0  =  margin(s_0)

    A plan has states at model steps only, and can cut through a zone between two of them. The way is a straight line
    in the coordinates of the model's states.

    Args:
        event: an event of single steps whose function reads states alone, such as ``~inside_ball(...)``.
        points: n, the points of the way, of which the last is the step itself; 1: the event unchanged. The frameskip of
            the model is a good number.

    Raises:
        GraspPlannerError: ``event`` is not a :class:`Margin`, or ``points`` is not an integer >= 1.

    Example:
        >>> from grasp_planner import always
        >>> zone = inside_ball(lambda states: states, centre=(0.0, 0.0), radius=1.0)
        >>> path, actions = torch.tensor([[[-2.0, 0.0], [2.0, 0.0]]]), torch.zeros(1, 1, 2)
        >>> always(~zone).margin(path, actions), always(along_the_way(~zone, points=4)).margin(path, actions)
        (tensor([1.]), tensor([-1.]))
    """
    if not isinstance(event, Margin):
        raise GraspPlannerError(f"along_the_way needs a Margin, an event of single steps, got {type(event).__name__}")
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise GraspPlannerError(f"along_the_way.points must be an integer >= 1, got {points!r}")

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        shares = torch.arange(1, points, dtype=states.dtype, device=states.device)[:, None] / points
        inner = states[:, :-1, None] + shares * states.diff(dim=1)[:, :, None]
        ways = torch.cat([inner, states[:, 1:, None]], dim=2)
        dense = torch.cat([states[:, :1], ways.flatten(1, 2)], dim=1)
        found = event.signal(Path(dense, actions.repeat_interleave(points, dim=1)), dense.shape[1], 0.0)
        return torch.cat([found[:, :1], found[:, 1:].unflatten(1, (-1, points)).amin(-1)], dim=1)

    return Margin(margin)


def _like(found: Float[Tensor, "b k d"], value: Sequence[float] | Tensor, name: str) -> Float[Tensor, " d"]:
    """Return ``(d,)`` numbers as a tensor in the dtype and on the device of ``found``.

    Raises:
        GraspPlannerError: there are not d numbers.
    """
    numbers = torch.as_tensor(value, dtype=found.dtype, device=found.device)
    if numbers.shape != found.shape[-1:]:
        raise GraspPlannerError(
            f"{name} must be {tuple(found.shape[-1:])} like the quantity that read(states) returns, "
            f"got {tuple(numbers.shape)}"
        )
    return numbers
