"""The interface of planners: hyperparameters and three methods. The loop does everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem


@runtime_checkable
class Planner(Protocol):
    """Hyperparameters (a frozen dataclass) and three methods. The protocol is structural: a planner inherits nothing.

    The problem that a planner gets is :meth:`~grasp_planner.core.problem.Problem.normalised`: its latents are in units
    of the scale. A planner uses ``problem.rollout``, ``predict``, ``cost``, ``clamp``, ``start``, ``goal``,
    ``horizon``, ``low``, ``high`` and, if it divides its work by the budget, ``spent``.

    ``noise`` holds one random stream per problem, and is different for each call. A planner may have an attribute
    ``tolerance``: a problem whose best cost is at or below the tolerance is CONVERGED. Without the attribute, the
    tolerance is 0.

    Example:
        >>> from grasp_planner import GD
        >>> isinstance(GD(lr=0.1), Planner)
        True

    docs/writing_a_planner.md has a complete planner.
    """

    def init(self, problem: Problem, actions: Float[Tensor, "b t a"], noise: Noise) -> Any:
        """Return the first state, a ``NamedTuple`` of tensors without a graph.

        Args:
            problem: the b problems, in units of the scale.
            actions: ``(b, t, a)`` first actions, within the bounds.
            noise: one random stream per problem.
        """
        ...

    def step(self, problem: Problem, state: Any, noise: Noise) -> tuple[Any, Scored | None]:
        """Return the next state, and the scored rollout if the step made one. The old state is not written to.

        A step makes at most one rollout, or one parallel call, per candidate. The loop counts the model calls of each
        step.

        Args:
            problem: the b problems, in units of the scale.
            state: what ``init`` or the last ``step`` returned.
            noise: one random stream per problem, other streams than in the last step.
        """
        ...

    def actions(self, state: Any) -> Float[Tensor, "b t a"]:
        """Return the current plan ``(b, t, a)`` of the state."""
        ...


@runtime_checkable
class SamplingPlanner(Planner, Protocol):
    """A planner that samples actions with a standard deviation per time step, such as CEM, ICEM and MPPI."""

    def with_std(self, state: Any, std: Float[Tensor, "b t a"]) -> Any:
        """Return the state with another standard deviation."""
        ...


@runtime_checkable
class Lifted(Protocol):
    """A planner with virtual states, such as ``GRASP`` and ``LatCo``, or a planner around another planner."""

    def virtual(self, state: Any) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states s_1 .. s_{T-1} in units of the scale; ``None`` if there are no virtual states."""
        ...

    def actions(self, state: Any) -> Float[Tensor, "b t a"]:
        """Return the current actions."""
        ...


class Progress(NamedTuple):
    """The argument of a callback, which is called after the start and after every step. Do not write to its tensors.

    Attributes:
        problem: the problems, in the caller's own latent units.
        step: number of steps so far.
        seconds: wall-clock time so far.
        spent: share of the budget that is spent, from 0 to 1.
        state: the planner's state, whose latents are in units of the scale; ``None`` before the first step.
        best: the best plans so far: actions ``(b, t, a)``, states ``(b, t, s)`` in the caller's own latent units, and
            cost ``(b,)``.
        rolled_out: whether the last step rolled actions out.
        status: ``(b,)`` values of :class:`~grasp_planner.core.plans.Status`; -1 for problems that are still running.

    Example:
        >>> from grasp_planner import GD, Budget, Markov, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.ones(1, 2), 20, low=-torch.ones(2), high=1)
        >>> found = plan(problem, GD(), Budget(steps=100), callback=lambda progress: progress.step == 3)
        >>> found.steps, found.status
        (3, [INTERRUPTED])
    """

    problem: Problem
    step: int
    seconds: float
    spent: float
    state: Any
    best: Scored
    rolled_out: bool
    status: Int[Tensor, " b"]


Callback = Callable[[Progress], bool | numpy.bool_ | Tensor | None]
"""A function that is called after every step. If it returns True, planning ends with status INTERRUPTED."""


def asks_to_stop(answer: object) -> bool:
    """Return whether a callback returned True, as a ``bool`` or as one element of numpy or torch.

    >>> asks_to_stop(numpy.True_), asks_to_stop(Tensor([1.0]) > 0), asks_to_stop(1), asks_to_stop(None)
    (True, True, False, False)
    """
    if isinstance(answer, (Tensor, numpy.ndarray)):
        return answer.dtype in (torch.bool, numpy.bool_) and answer.shape in ((), (1,)) and bool(answer)
    return isinstance(answer, (bool, numpy.bool_)) and bool(answer)


def is_planner(thing: object) -> bool:
    """Return whether ``thing`` is an instance of a planner. A planner class is not a planner."""
    return isinstance(thing, Planner) and not isinstance(thing, type)


def tolerance_of(planner: object) -> float:
    """Return the tolerance of a planner, which is 0 if the planner does not have one."""
    return getattr(planner, "tolerance", 0.0)


def check_planner(owner: object, name: str) -> None:
    """Raise unless the field ``name`` of a planner around planners holds a planner.

    Raises:
        GraspPlannerError: the field holds something else.
    """
    value = getattr(owner, name)
    if not is_planner(value):
        raise GraspPlannerError(f"{type(owner).__name__}.{name} must be a planner such as GD(), got {value!r}")


def virtual_states(planner: object, state: Any) -> Float[Tensor, "b t_less_1 s"] | None:
    """Return the virtual states of any planner, in units of the scale; ``None`` if there are no virtual states."""
    return planner.virtual(state) if isinstance(planner, Lifted) else None
