"""Objectives of planning: a stage cost for each step and a terminal cost for the last state.

An objective sees coordinates without units: ``Problem`` divides states and goal by ``Problem.scale`` first. Only
objectives of rewards (:class:`Rewarding`) see the model's own units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError


@runtime_checkable
class Objective(Protocol):
    """The interface of an objective. Both methods reduce the last axis only and accept any leading axes.

    States and goals are divided by the problem's scale before an objective sees them.

    Example:
        >>> class Reward:
        ...     def terminal(self, states, goal):  # (..., s), (..., s) -> (...)
        ...         return -torch.exp(-(states - goal).square().sum(-1))
        ...
        ...     def stage(self, states, actions, goal):  # (..., s), (..., a), (..., s) -> (...)
        ...         return 0.01 * actions.square().sum(-1)
        >>> isinstance(Reward(), Objective)
        True
    """

    def terminal(self, states: Float[Tensor, "*batch s"], goal: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return the cost phi(s_T, g) of ending in ``states``."""
        ...

    def stage(
        self,
        states: Float[Tensor, "*batch s"],
        actions: Float[Tensor, "*batch a"],
        goal: Float[Tensor, "*batch s"],
    ) -> Float[Tensor, "*batch"]:
        """Return the cost l(s_t, a_t) of one step that starts in ``states`` with ``actions``."""
        ...


@runtime_checkable
class BoundedBelow(Protocol):
    """Optional: an objective that knows its least possible cost. A problem whose plan has this cost is solved."""

    @property
    def least_cost(self) -> float:
        """The least cost that a plan can have."""
        ...


@runtime_checkable
class SumOfSquares(Protocol):
    """Optional: an objective that is the weighted sum of squares of :class:`GoalDistance`, for second-order planners.

    Its costs must be those of ``GoalDistance`` with the same weights, stage weight and effort.
    """

    @property
    def stage_weight(self) -> float:
        """Weight of the distance at every step before the last."""
        ...

    @property
    def effort(self) -> float:
        """Weight of the squared action."""
        ...

    def weights_like(self, states: Tensor) -> Tensor:
        """Return the weights of the coordinates ``(s,)``, in the dtype and on the device of ``states``."""
        ...


@runtime_checkable
class Rewarding(Protocol):
    """Optional: an objective made of rewards, such as :class:`~grasp_planner.core.returns.DiscountedReturn`.

    Its stage cost at time t is multiplied by discount^t, and its terminal cost by discount^T. It sees states in the
    model's own units, which are not divided by the scale of the problem. The problem needs no goal.
    """

    @property
    def discount(self) -> float:
        """Factor from 0 to 1 of the cost of each later model step."""
        ...


@runtime_checkable
class AroundObjective(Protocol):
    """Optional: an objective around another objective, such as ``Constrained`` and ``Cautious``."""

    @property
    def objective(self) -> Objective:
        """The objective inside."""
        ...


def discount_of(objective: Objective) -> float | None:
    """Return the discount of an objective of rewards, also inside of other objectives; ``None`` for other objectives.

    >>> discount_of(GoalDistance()) is None
    True
    """
    if type(objective) is GoalDistance:
        return None  # the usual case, without the time that the checks of protocols take
    while isinstance(objective, AroundObjective):
        objective = objective.objective
    return objective.discount if isinstance(objective, Rewarding) else None


def is_solved(objective: Objective, cost: Float[Tensor, " b"], tolerance: float) -> Bool[Tensor, " b"]:
    """Return for which problems the cost is low enough to stop.

    A cost is low enough if it is at or below a positive tolerance. With tolerance 0, only the least possible cost is
    low enough. An objective that does not know its least possible cost, such as a reward, is then never solved.
    """
    if tolerance > 0:
        return cost <= tolerance
    if isinstance(objective, BoundedBelow):
        return cost <= objective.least_cost
    return torch.zeros_like(cost, dtype=torch.bool)


def costs_of(part: str, cost: object, like: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
    """Return ``cost`` unchanged if it holds one number for each of the states ``like``, in their dtype.

    Without this check, a cost of another shape would be broadcast silently, and planning would minimise something else.

    Raises:
        GraspPlannerError: ``cost`` is not a tensor, or has another shape or dtype.
    """
    if not isinstance(cost, Tensor):
        raise GraspPlannerError(f"objective.{part} must return a tensor, got {type(cost).__name__}")
    if cost.shape != like.shape[:-1] or cost.dtype != like.dtype:
        raise GraspPlannerError(
            f"objective.{part} was given states {tuple(like.shape)} {like.dtype} and must return "
            f"{tuple(like.shape[:-1])} of the same dtype, got {tuple(cost.shape)} {cost.dtype}"
        )
    return cost


@dataclass(frozen=True, eq=False)
class GoalDistance:
    """Squared distance to the goal, with a weight per coordinate.

        phi(s_T, g)  =  sum_i w_i (s_T,i - g_i)^2
        l(s_t, a_t)  =  stage_weight * sum_i w_i (s_t,i - g_i)^2  +  effort * |a_t|^2

    The weights express that parts of a latent (pixels and proprioception, position and velocity) count differently.

    Args:
        weights: ``(s,)`` non-negative weights w, a sequence or a tensor; ``None`` weighs all coordinates 1.
        stage_weight: weight of the same distance at every step before the last. 0: only the last state counts.
        effort: weight of the squared action, in the model's own action units.

    Raises:
        GraspPlannerError: a weight is negative or not finite.

    Example:
        >>> import torch
        >>> objective = GoalDistance(weights=(1.0, 0.0))
        >>> objective.terminal(torch.tensor([3.0, 5.0]), torch.zeros(2))
        tensor(9.)

    Source: GRASP (arXiv 2602.00475), section 2: the terminal cost |s_T - g|^2. Stage cost, effort and weights are ours.
    """

    weights: Sequence[float] | Tensor | None = None
    stage_weight: float = 0.0
    effort: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("stage_weight", self.stage_weight), ("effort", self.effort)):
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise GraspPlannerError(f"GoalDistance.{name} must be a number >= 0, got {value!r}")
        if self.weights is not None:
            wanted = "GoalDistance.weights must be (s,) finite numbers >= 0"
            try:
                weights = torch.as_tensor(self.weights)
            except (TypeError, ValueError, RuntimeError) as error:
                raise GraspPlannerError(f"{wanted}, got {self.weights!r}") from error
            if weights.ndim != 1 or not len(weights) or not bool((torch.isfinite(weights) & (weights >= 0)).all()):
                raise GraspPlannerError(f"{wanted}, got {self.weights!r}")

    @property
    def least_cost(self) -> float:
        """0, the cost of staying at the goal without effort."""
        return 0.0

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:
        """Return the sum over coordinates of w_i (s_i - g_i)^2."""
        squared = (states - goal).square()
        if self.weights is None:
            return squared.sum(-1)
        return (squared * self.weights_like(squared)).sum(-1)

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        """Return ``stage_weight`` * distance to the goal + ``effort`` * squared action, which is zero by default."""
        cost = self.effort * actions.square().sum(-1) if self.effort > 0 else actions.new_zeros(actions.shape[:-1])
        if self.stage_weight == 0.0:
            return cost
        return cost + self.stage_weight * self.terminal(states, goal)

    def weights_like(self, states: Tensor) -> Tensor:
        """Return the weights as a tensor ``(s,)``, in the dtype and on the device of ``states``; ones by default."""
        if self.weights is None:
            return torch.ones(states.shape[-1], dtype=states.dtype, device=states.device)
        weights = torch.as_tensor(self.weights).detach().to(dtype=states.dtype, device=states.device)
        return weights.clone() if weights.is_inference() else weights  # autograd refuses inference tensors


def only_the_end_counts(objective: Objective) -> TypeGuard[GoalDistance]:
    """Return whether stage costs are known to be zero, so that they need not be evaluated."""
    return type(objective) is GoalDistance and objective.stage_weight == 0 and objective.effort == 0
