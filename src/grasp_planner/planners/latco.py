"""LatCo: latent collocation, states and actions as variables under a constraint with multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.checks import at_least, one_of, whole
from grasp_planner.planners.descent import Moments, descend, with_gradients
from grasp_planner.planners.gauss_newton import check_fits, gauss_newton_step
from grasp_planner.planners.lifted import straight_line
from grasp_planner.planners.serial import check_polish, polish_of, rollouts_to_polish
from grasp_planner.planning.loop import Planner


class LatCoState(NamedTuple):
    """States s_1 .. s_T and actions as variables, a multiplier a step, and the defects they are to close."""

    states: Float[Tensor, "b t s"]
    actions: Float[Tensor, "b t a"]
    multipliers: Float[Tensor, "b t"]
    state_moments: Moments
    action_moments: Moments
    defects: Float[Tensor, "b t"]
    step: int
    scored: Scored | None


@dataclass(frozen=True)
class LatCo:
    """Minimise the cost of free states under the dynamics as a constraint, by dual ascent.

        min_{s,a} max_lambda  J(s, a) + sum_t lambda_t |F(s_t, a_t) - s_{t+1}|^2
        lambda_t <- lambda_t * (1 + dual_rate * log10((v_t + threshold / 10) / threshold)),   v_t the squared defect

    Gradients pass the model's state input as well as its action input: GRASP's ablation in reverse.

    Args:
        method: ``"first_order"`` (Adam), or ``"gauss_newton"`` with damping: dense, for small latents, and for
            objectives that are goal distances.
        state_lr: Adam's rate for states, in units of ``Problem.scale``; first order only.
        action_lr: Adam's rate for actions, in action units; first order only.
        damping: added to the diagonal of the normal equations; Gauss-Newton only.
        multiplier: lambda at the start.
        max_multiplier: lambda never grows beyond this, which keeps an infeasible problem from overflowing.
        dual_rate: how fast multipliers follow their defects.
        dual_every: steps between dual updates.
        threshold: the squared defect, in units of the scale, above which a multiplier grows.
        initial_noise: deviation of the noise on the straight line that the states start on.
        score_every: steps between true rollouts of the actions; the best rollout is the plan.
        polish: a serial planner that goes on from the best plan when all steps are made, such as ``GD(rate=0.05)``.
        polish_steps: steps of ``polish``; ``plan`` keeps the budget for them, at most three tenths of it.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range; or, when planning, Gauss-Newton cannot fit the problem.

    Example:
        >>> from grasp_planner import LatCo
        >>> LatCo(method="gauss_newton", damping=1e-3, dual_every=1, dual_rate=0.1).method
        'gauss_newton'

    Source: LatCo (Rybkin et al., arXiv 2106.13229) and its code: Gauss-Newton with damping 1e-3, one dual update a
    step at rate 0.1, threshold 1e-4. Differences: s_0 is held, not penalised; states start on the line from start to
    goal as in GRASP; multipliers fall by at most a factor of ten an update; bounds hold; the best rollout is kept.
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
    polish: Planner | None = None
    polish_steps: int = 100
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        one_of(self, "method", ("first_order", "gauss_newton"))
        at_least(self, 0, "state_lr", "action_lr", "damping", "dual_rate", "initial_noise", "tolerance")
        at_least(self, 1e-30, "multiplier", "max_multiplier", "threshold")
        whole(self, 1, "dual_every", "score_every", "polish_steps")
        check_polish(self)

    @property
    def rollouts_per_step(self) -> int:
        """At most: T rows for the step, and a rollout where it is scored."""
        return 2

    @property
    def rollouts_to_finish(self) -> int:
        """The last actions may not be scored yet."""
        return 1

    @property
    def serial_rollouts_to_finish(self) -> int:
        """One, of all at once."""
        return 1

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> LatCoState:
        """States on the straight line, the last one at the goal."""
        if self.method == "gauss_newton":
            check_fits(problem)
        states = torch.cat([straight_line(problem, self.initial_noise, noise), problem.goal[:, None]], dim=1)
        multipliers = torch.full_like(actions[:, :, 0], self.multiplier)
        defects = torch.full_like(multipliers, torch.inf)
        return LatCoState(states, actions, multipliers, Moments.zeros(states), Moments.zeros(actions), defects, 0, None)

    def step(self, problem: Problem, state: LatCoState, noise: Noise) -> LatCoState:
        """One move of states and actions, a dual update and a true rollout when they are due."""
        move = self._gauss_newton if self.method == "gauss_newton" else self._first_order
        state = move(problem, state)
        step, multipliers = state.step + 1, state.multipliers
        if step % self.dual_every == 0:
            excess = torch.log10((state.defects + 0.1 * self.threshold) / self.threshold)
            multipliers = multipliers * (1 + self.dual_rate * excess).clamp(min=0.1)
            multipliers = multipliers.clamp(max=self.max_multiplier)
        scored = score(problem, state.actions) if step % self.score_every == 0 else None
        return state._replace(multipliers=multipliers, step=step, scored=scored)

    def _first_order(self, problem: Problem, state: LatCoState) -> LatCoState:
        unit = problem.unit[:, None]

        def lagrangian(actions: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor]:
            squared = defects(problem, scaled * unit, actions).square().sum(-1)
            total = problem.cost(scaled * unit, actions) + (state.multipliers * squared).sum(1)
            return total, squared.detach()

        scaled = state.states / unit
        (to_actions, to_states), squared = with_gradients(lagrangian, state.actions, scaled)
        scaled, state_moments = descend("adam", self.state_lr, scaled, to_states, state.state_moments)
        actions, action_moments = descend("adam", self.action_lr, state.actions, to_actions, state.action_moments)
        return state._replace(
            states=scaled * unit,
            actions=problem.clamp(actions),
            state_moments=state_moments,
            action_moments=action_moments,
            defects=squared,
        )

    def _gauss_newton(self, problem: Problem, state: LatCoState) -> LatCoState:
        states, actions, squared = gauss_newton_step(
            problem, state.states, state.actions, state.multipliers, self.damping
        )
        return state._replace(states=states, actions=actions, defects=squared)

    def finish(self, problem: Problem, state: LatCoState, noise: Noise) -> LatCoState:
        """Score the last actions, unless the last step did."""
        return state if state.scored is not None else state._replace(scored=score(problem, state.actions))

    @property
    def rollouts_to_polish(self) -> int:
        """All steps of ``polish``."""
        return rollouts_to_polish(self.polish, self.polish_steps)

    def polished(self, problem: Problem, best: Scored, noise: Noise) -> Scored | None:
        """The serial planner of the polish, from the best plan on."""
        return polish_of(problem, self.polish, self.polish_steps, best, noise)

    def virtual(self, state: LatCoState) -> Float[Tensor, "b t_less_1 s"]:
        """The states s_1 .. s_{T-1} as they are."""
        return state.states[:, :-1]

    def actions(self, state: LatCoState) -> Float[Tensor, "b t a"]:
        """The current actions."""
        return state.actions


def defects(
    problem: Problem, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
) -> Float[Tensor, "b t s"]:
    """F(s_t, a_t) - s_{t+1} for every t, in units of the scale: what the constraint wants to be zero."""
    before = torch.cat([problem.start[:, None], states[:, :-1]], dim=1)
    return (problem.predict(before, actions) - states) / problem.unit[:, None]
