"""GD: gradient descent on the actions through the whole rollout (shooting)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, one_of
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planners.descent import Moments, Optimiser, descend, with_gradients


class GDState(NamedTuple):
    """The current actions and Adam's moments."""

    actions: Float[Tensor, "b t a"]
    moments: Moments


@dataclass(frozen=True)
class GD:
    """Optimise the actions by gradient descent on the cost of their rollout, back-propagated through all T steps.

        a <- clamp(a - lr * d J(a) / da + noise),     J(a) = cost of the true rollout of a

    ``MultiStart(GD(...))`` descends from many starts at once.

    Args:
        lr: learning rate. With ``"adam"``, it is in action units per step; with ``"sgd"``, it multiplies the gradient.
        optimiser: ``"adam"`` or ``"sgd"``.
        action_noise: standard deviation of normal noise that is added to the actions after each step, in action units.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range.

    Example:
        >>> from grasp_planner import GD, MultiStart
        >>> planner = MultiStart(GD(lr=0.05), starts=8)

    Source: the gradient planner of DINO-WM (arXiv 2411.04983; plain SGD, learning rate 1 on a *mean* of squares, noise
    0.003, one normal start). Differences: costs are sums in units of the problem's scale, actions stay within bounds,
    the best rollout is kept, and success in the simulator does not stop planning.
    """

    lr: float = 0.05
    optimiser: Optimiser = "adam"
    action_noise: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "lr", "action_noise", "tolerance")
        one_of(self, ("adam", "sgd"), "optimiser")

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> GDState:
        """Start at the given actions."""
        return GDState(actions, Moments.zeros(actions))

    def step(self, problem: Problem, state: GDState, noise: Noise) -> tuple[GDState, Scored]:
        """Make one descent step. The rollout of the step also scores the actions before the step."""

        def cost(actions: Tensor) -> tuple[Tensor, Scored]:
            states = problem.rollout(actions)
            total = problem.cost(states, actions)
            return total, Scored(state.actions, states.detach(), total.detach())

        (gradient,), scored = with_gradients(cost, state.actions)
        actions, moments = descend(self.optimiser, self.lr, state.actions, gradient, state.moments)
        if self.action_noise > 0:
            actions = actions + self.action_noise * noise.normal(tuple(actions.shape[1:]), actions.dtype)
        return GDState(problem.clamp(actions), moments), scored

    def actions(self, state: GDState) -> Float[Tensor, "b t a"]:
        """Return the current actions."""
        return state.actions
