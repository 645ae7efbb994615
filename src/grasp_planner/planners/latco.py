"""LatCo: latent collocation, which optimises states and actions under a dynamics constraint with multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, one_of, whole
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.collocation import check_fits, gauss_newton_step
from grasp_planner.planners.descent import Moments, descend, with_gradients
from grasp_planner.planners.lifted import straight_line


class LatCoState(NamedTuple):
    """States s_1 .. s_T, actions, a multiplier per time step, and the squared defects that update the multipliers."""

    states: Float[Tensor, "b t s"]
    actions: Float[Tensor, "b t a"]
    multipliers: Float[Tensor, "b t"]
    state_moments: Moments
    action_moments: Moments
    defects: Float[Tensor, "b t"]
    moves: int
    """Number of updates of states and actions so far."""
    unscored: int
    """Number of updates since the last rollout of the actions."""


@dataclass(frozen=True)
class LatCo:
    """Minimise the cost over states and actions, with the dynamics as a constraint, by dual ascent.

        min_{s,a} max_lambda  J(s, a) + sum_t lambda_t |F(s_t, a_t) - s_{t+1}|^2
        lambda_t <- lambda_t * (1 + dual_rate * log10((v_t + threshold / 10) / threshold)),   v_t the squared defect

    Gradients flow through the model's state input as well as its action input.

    Args:
        method: ``"first_order"`` (Adam), or ``"gauss_newton"`` with damping: dense, so only for small latents, and only
            for sums of squares such as ``GoalDistance``.
        state_lr: Adam's learning rate for states, in units of the scale; first order only.
        action_lr: Adam's learning rate for actions, in action units; first order only.
        damping: added to the diagonal of the normal equations; Gauss-Newton only.
        multiplier: initial lambda.
        max_multiplier: upper limit of lambda, which keeps an infeasible problem from overflowing.
        dual_rate: step size of the multipliers.
        dual_every: updates of states and actions between two updates of the multipliers.
        threshold: the squared defect, in units of the scale, above which a multiplier grows.
        initial_noise: standard deviation of the noise on the straight line of initial states.
        score_every: updates between two rollouts of the actions. A rollout is a separate step. The plan is the best
            rollout.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range; or, when planning, Gauss-Newton cannot fit the problem.

    Example:
        >>> from grasp_planner import LatCo
        >>> LatCo(method="gauss_newton", damping=1e-3, dual_every=1, dual_rate=0.1).method
        'gauss_newton'

    Source: LatCo (Rybkin et al., arXiv 2106.13229) and its code: Gauss-Newton with damping 1e-3, one dual update a
    step with rate 0.1, threshold 1e-4. Differences: s_0 is fixed, not penalised; states start on the line from start to
    goal as in GRASP; an update divides a multiplier by ten at most; actions are clamped; the best rollout is kept.
    """

    method: Literal["first_order", "gauss_newton"] = "first_order"
    state_lr: float = 0.05
    action_lr: float = 0.05
    damping: float = 1e-3
    multiplier: float = 1.0
    max_multiplier: float = 1e4
    dual_rate: float = 0.5
    dual_every: int = 5
    threshold: float = 1e-4
    initial_noise: float = 0.0
    score_every: int = 5
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        one_of(self, ("first_order", "gauss_newton"), "method")
        at_least(self, 0, "state_lr", "action_lr", "damping", "dual_rate", "initial_noise", "tolerance")
        at_least(self, 1e-30, "multiplier", "max_multiplier", "threshold")
        whole(self, 1, "dual_every", "score_every")

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> LatCoState:
        """Put the states on the straight line, the last state at the goal."""
        if self.method == "gauss_newton":
            check_fits(problem)
        states = torch.cat([straight_line(problem, self.initial_noise, noise), problem.goal[:, None]], dim=1)
        multipliers = torch.full_like(actions[:, :, 0], self.multiplier)
        defects = torch.full_like(multipliers, torch.inf)
        return LatCoState(states, actions, multipliers, Moments.zeros(states), Moments.zeros(actions), defects, 0, 0)

    def step(self, problem: Problem, state: LatCoState, noise: Noise) -> tuple[LatCoState, Scored | None]:
        """Update states and actions, and the multipliers if due; if a rollout is due, only roll the actions out."""
        if state.unscored == self.score_every:
            return state._replace(unscored=0), score(problem, state.actions)
        state = (self._gauss_newton if self.method == "gauss_newton" else self._first_order)(problem, state)
        moves, multipliers = state.moves + 1, state.multipliers
        if moves % self.dual_every == 0:
            excess = torch.log10((state.defects + 0.1 * self.threshold) / self.threshold)
            multipliers = (multipliers * (1 + self.dual_rate * excess).clamp(min=0.1)).clamp(max=self.max_multiplier)
        return state._replace(multipliers=multipliers, moves=moves, unscored=state.unscored + 1), None

    def _first_order(self, problem: Problem, state: LatCoState) -> LatCoState:
        def lagrangian(actions: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
            squared = defects(problem, states, actions).square().sum(-1)
            return problem.cost(states, actions) + (state.multipliers * squared).sum(1), squared.detach()

        (to_actions, to_states), squared = with_gradients(lagrangian, state.actions, state.states)
        states, state_moments = descend("adam", self.state_lr, state.states, to_states, state.state_moments)
        actions, action_moments = descend("adam", self.action_lr, state.actions, to_actions, state.action_moments)
        state = state._replace(state_moments=state_moments, action_moments=action_moments)
        return state._replace(states=states, actions=problem.clamp(actions), defects=squared)

    def _gauss_newton(self, problem: Problem, state: LatCoState) -> LatCoState:
        moved = gauss_newton_step(problem, state.states, state.actions, state.multipliers, self.damping)
        return state._replace(states=moved[0], actions=moved[1], defects=moved[2])

    def virtual(self, state: LatCoState) -> Float[Tensor, "b t_less_1 s"]:
        """Return the states s_1 .. s_{T-1}."""
        return state.states[:, :-1]

    def actions(self, state: LatCoState) -> Float[Tensor, "b t a"]:
        """Return the current actions."""
        return state.actions


def defects(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, "b t s"]:
    """Compute the defects F(s_t, a_t) - s_{t+1} for every t. The constraint says that all defects are zero."""
    before = torch.cat([problem.start[:, None], states[:, :-1]], dim=1)
    return problem.predict(before, actions) - states
