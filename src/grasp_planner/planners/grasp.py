"""GRASP: gradient relaxed stochastic planner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, flag, one_of, whole
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, best_of, better, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.descent import Moments, Optimiser, descend
from grasp_planner.planners.gap_sync import check_sync, with_gap_std
from grasp_planner.planners.gd import GD
from grasp_planner.planners.lifted import diffused, lifted_gradients, straight_line
from grasp_planner.planning.protocol import Planner

Schedule = Literal["constant", "linear"]


class GRASPState(NamedTuple):
    """Virtual states s_1 .. s_{T-1}, actions a_0 .. a_{T-1}, and the position in the cycle of lifted and sync steps.

    Attributes:
        phase: steps since the last sync ended. The first K steps of a cycle are lifted steps; the rest are the sync.
        serial: the state of the serial planner during a sync; otherwise ``None``.
        synced: the best rollouts of the current sync so far.
    """

    states: Float[Tensor, "b t_less_1 s"]
    actions: Float[Tensor, "b t a"]
    state_moments: Moments
    action_moments: Moments
    phase: int
    serial: Any
    synced: Scored | None


@dataclass(frozen=True)
class GRASP:
    """Optimise virtual states and actions together, in parallel over time, and synchronise them by model rollouts.

        L(s, a) = sum_t |F(sg[s_t], a_t) - s_{t+1}|^2 + gamma sum_t |F(sg[s_t], a_t) - g|^2      s_0 and s_T = g fixed
        s_t <- s_t - eta_s dL/ds_t + sigma xi_t,   t = 1..T-1
        a_t <- a_t - eta_a dL/da_t,                t = 0..T-1
        after every K such steps:  a <- the best rollout in J steps of a serial planner, which starts at a

    sg stops the gradient: the actions get gradients through the model, and the states get gradients only as targets of
    predictions. A lifted step is one model call on b * T rows. A sync takes J steps of the serial planner and one
    rollout of the resulting actions.

    Args:
        state_lr: eta_s, learning rate of the states, in units of the scale.
        action_lr: eta_a, learning rate of the actions, in action units.
        state_noise: sigma, the standard deviation of the noise on the states, in units of the scale.
        goal_weight: gamma, weight of the goal term. The problem's objective measures the distance to the goal.
        sync: the serial planner, for example GD. ``None``: a sync rolls the actions out without changing them.
        sync_every: K, lifted steps between two syncs.
        sync_steps: J, steps of ``sync`` in each sync.
        stop_gradient: False lets gradients flow through the model's state input (for ablations).
        optimiser: ``"adam"`` as in the authors' code, ``"sgd"`` as in the paper's equations.
        initial_noise: epsilon, the standard deviation of the noise on the straight line of initial states.
        score_first: whether the first step rolls the actions out, as at the end of a sync, so that a plan is scored
            before the first lifted step (not in the authors' code). With ``reset_states``, the virtual states begin on
            this rollout instead of the straight line.
        noise_beta: exponent of the power spectrum of xi over time, 1 / f^noise_beta. 0: white noise, as in the paper.
        noise_schedule: sigma within a cycle: ``"constant"``, or ``"linear"`` from sigma down to 0.
        goal_schedule: gamma within a cycle: ``"constant"``, or ``"linear"`` from gamma down to 0.
        reset_states: whether a sync sets the virtual states to the states of its rollout (not in the authors' code).
        reset_moments: whether a sync resets Adam's moments (as in the authors' code).
        gap_std: for a serial planner that samples (CEM, ICEM, MPPI): its initial standard deviation at each time step
            is ``gap_std`` times the gap between virtual state and rollout at that step. 0: the planner's own ``std``.
        state_epsilon: the epsilon of the states' Adam, which marks gradients of its size as zero. ``None``: the square
            root of the precision (1.5e-8 in float64, 3.5e-4 in float32). The gradient of a state is twice its defect.
            On a fresh rollout, the defect is only rounding error, which Adam with a smaller epsilon would scale up to
            full steps.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range.

    Example:
        >>> from grasp_planner import CEM, GRASP
        >>> planner = GRASP(sync=CEM(samples=64, elites=8), sync_every=50, sync_steps=5)

    Source: GRASP (arXiv 2602.00475), section 3, equations 10 to 15. Differences: the plan is the best rollout seen, not
    the last iterate; the next cycle starts at the best rollout of the sync; actions are clamped to the bounds.
    ``grasp_planner.planners.presets`` has the published settings.
    """

    state_lr: float = 0.2  # eta_s
    action_lr: float = 0.1  # eta_a
    state_noise: float = 0.5  # sigma
    goal_weight: float = 0.1  # gamma
    sync: Planner | None = field(default_factory=GD)
    sync_every: int = 25  # K_sync
    sync_steps: int = 25  # J_sync
    stop_gradient: bool = True
    optimiser: Optimiser = "adam"
    initial_noise: float = 0.0  # epsilon
    score_first: bool = False
    noise_beta: float = 0.0
    noise_schedule: Schedule = "constant"
    goal_schedule: Schedule = "constant"
    reset_states: bool = False
    reset_moments: bool = True
    gap_std: float = 0.0
    state_epsilon: float | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "state_lr", "action_lr", "state_noise", "goal_weight", "initial_noise", "noise_beta")
        at_least(self, 0, "gap_std", "tolerance", *(("state_epsilon",) if self.state_epsilon is not None else ()))
        whole(self, 1, "sync_every", "sync_steps")
        flag(self, "stop_gradient", "score_first", "reset_states", "reset_moments")
        one_of(self, ("adam", "sgd"), "optimiser")
        one_of(self, ("constant", "linear"), "noise_schedule", "goal_schedule")
        check_sync(self.sync, self.gap_std)

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> GRASPState:
        """Put the states on the straight line from start to goal, plus noise."""
        states = straight_line(problem, self.initial_noise, noise)
        phase = self.sync_every + self.sync_steps + (self.gap_std > 0) if self.score_first else 0
        if self.sync is not None:
            self.sync.init(problem, actions, noise.fold(0))  # raises if the serial planner cannot plan for this problem
        return GRASPState(states, actions, Moments.zeros(states), Moments.zeros(actions), phase, None, None)

    def step(self, problem: Problem, state: GRASPState, noise: Noise) -> tuple[GRASPState, Scored | None]:
        """Make a lifted step, or after K of them a step of the sync."""
        if state.phase < self.sync_every:
            return self.lifted_step(problem, state, noise), None
        return self.sync_step(problem, state, noise)

    def lifted_step(self, problem: Problem, state: GRASPState, noise: Noise) -> GRASPState:
        """Move states and actions by their gradients of the lifted loss, and add noise to the states."""
        left = {"constant": 1.0, "linear": 1.0 - state.phase / self.sync_every}
        gamma, sigma = self.goal_weight * left[self.goal_schedule], self.state_noise * left[self.noise_schedule]

        # Equation 10: L(s, a), with the gradient stopped at the model's state input.
        to_states, to_actions = lifted_gradients(problem, state.states, state.actions, gamma, self.stop_gradient)
        # Equation 11: s_t <- s_t - eta_s dL/ds_t + sigma xi_t.
        zero = torch.finfo(to_states.dtype).eps ** 0.5 if self.state_epsilon is None else self.state_epsilon
        kind, moments = self.optimiser, state.state_moments
        states, state_moments = descend(kind, self.state_lr, state.states, to_states, moments, zero)
        states = diffused(states, sigma, self.noise_beta, noise)
        # Equation 12: a_t <- a_t - eta_a dL/da_t.
        actions, moments = descend(kind, self.action_lr, state.actions, to_actions, state.action_moments)
        return GRASPState(states, problem.clamp(actions), state_moments, moments, state.phase + 1, None, None)

    def sync_step(self, problem: Problem, state: GRASPState, noise: Noise) -> tuple[GRASPState, Scored | None]:
        """Make one of the J steps of the serial planner (equations 13 to 15), or end the sync after these steps."""
        measures_gap = self.gap_std > 0  # an extra step before the first of the J steps
        done = state.phase - self.sync_every - measures_gap
        if self.sync is None or done >= self.sync_steps:
            return self.end_of_sync(problem, state)
        serial = self.sync.init(problem, state.actions, noise.fold(0)) if state.serial is None else state.serial
        if done < 0:
            scored = score(problem, state.actions)
            serial = with_gap_std(problem, self.sync, serial, state.states, scored, self.gap_std)
        else:
            serial, scored = self.sync.step(problem, serial, noise.fold(1))
        return state._replace(phase=state.phase + 1, serial=serial, synced=best_of(state.synced, scored)), scored

    def end_of_sync(self, problem: Problem, state: GRASPState) -> tuple[GRASPState, Scored]:
        """Roll the serial planner's last actions out, and begin the next cycle at the best rollout of the sync."""
        last = score(problem, self.actions(state))
        synced = last if state.synced is None else better(state.synced, last)
        states = synced.states[:, :-1] if self.reset_states else state.states
        moments = state.state_moments, state.action_moments
        moments = (Moments.zeros(states), Moments.zeros(synced.actions)) if self.reset_moments else moments
        return GRASPState(states, synced.actions, *moments, phase=0, serial=None, synced=None), synced

    def actions(self, state: GRASPState) -> Float[Tensor, "b t a"]:
        """Return the current actions; during a sync, those of the serial planner."""
        return state.actions if self.sync is None or state.serial is None else self.sync.actions(state.serial)

    def virtual(self, state: GRASPState) -> Float[Tensor, "b t_less_1 s"]:
        """Return the virtual states."""
        return state.states
