"""``DiscountedReturn``: discounted rewards and the value of the last state as an objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import between_zero_and_one
from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True, eq=False)
class DiscountedReturn:
    """An objective that maximises rewards up to the horizon plus the value of the last state.

        J = -( sum_{t=0}^{T-1} gamma^t r(s_t, a_t)  +  gamma^T V(s_T) )

    A problem with this objective needs no goal. Both functions see states in the model's own units, and accept any
    leading axes. If a model step has several environment steps, r is the reward of the whole model step, and gamma is
    the discount of a model step.

    Args:
        reward: r, a function of states ``(..., s)`` and actions ``(..., a)`` that returns ``(...)``.
        value: V, a function of states ``(..., s)`` that returns ``(...)``. ``None``: 0, so that nothing counts after
            the horizon.
        discount: gamma, from 0 to 1.

    Raises:
        GraspPlannerError: ``reward`` or ``value`` is not a function, or the discount is out of range.

    Example:
        >>> import torch
        >>> from grasp_planner import GD, Budget, DiscountedReturn, Markov, Problem, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> near = DiscountedReturn(
        ...     reward=lambda states, actions: -0.01 * actions.square().sum(-1),
        ...     value=lambda states: -(states - 0.5).square().sum(-1),
        ... )
        >>> problem = Problem.between(step, torch.zeros(1, 2), None, 10, -torch.ones(2), torch.ones(2), objective=near)
        >>> found = plan(problem, GD(), Budget(steps=200))
        >>> bool((found.states[0, -1] > 0.4).all())
        True

    Source: model predictive control with a terminal value, as in TD-MPC (Hansen, Wang and Su, ICML 2022).
    """

    reward: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor] | None = None
    discount: float = 0.99

    def __post_init__(self) -> None:
        for name, function in (("reward", self.reward), ("value", self.value)):
            if not callable(function) and not (name == "value" and function is None):
                raise GraspPlannerError(f"DiscountedReturn.{name} must be a function, got {function!r}")
        between_zero_and_one(self, "discount")

    def terminal(self, states: Float[Tensor, "*batch s"], goal: Tensor) -> Float[Tensor, "*batch"]:
        """Return -V(s), without discount. The goal is not read."""
        return states.new_zeros(states.shape[:-1]) if self.value is None else -self.value(states)

    def stage(
        self, states: Float[Tensor, "*batch s"], actions: Float[Tensor, "*batch a"], goal: Tensor
    ) -> Float[Tensor, "*batch"]:
        """Return -r(s, a), without discount. The goal is not read."""
        return -self.reward(states, actions)
