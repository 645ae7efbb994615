"""GRASP: gradient relaxed stochastic planner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.planners.candidates import best_candidate, leading, spread
from grasp_planner.planners.cem import CEM
from grasp_planner.planners.checks import at_least, flag, one_of, whole
from grasp_planner.planners.descent import Moments, Optimiser, descend, with_gradients
from grasp_planner.planners.gd import GD
from grasp_planner.planners.icem import ICEM
from grasp_planner.planners.lifted import gap_deviation, lifted_loss, straight_line
from grasp_planner.planners.mppi import MPPI
from grasp_planner.planners.serial import best_seen, check_polish, polish_of, rollouts_to_polish
from grasp_planner.planning.loop import Planner, is_planner

Schedule = Literal["constant", "linear"]


class GRASPState(NamedTuple):
    """Virtual states s_1 .. s_{T-1} and actions a_0 .. a_{T-1} of every particle, and how far the run is."""

    states: Float[Tensor, "b_n t_less_1 s"]
    actions: Float[Tensor, "b_n t a"]
    state_moments: Moments
    action_moments: Moments
    step: int
    leader: Tensor
    scored: Scored | None


@dataclass(frozen=True)
class GRASP:
    """Optimise states and actions together, every step in parallel over time, and sync by a true rollout.

        L(s, a) = sum_t |F(sg[s_t], a_t) - s_{t+1}|^2 + gamma sum_t |F(sg[s_t], a_t) - g|^2      s_0 and s_T = g held
        s_t <- s_t - eta_s dL/ds_t + sigma xi_t,   t = 1..T-1
        a_t <- a_t - eta_a dL/da_t,                t = 0..T-1
        every K steps:  a <- J steps of a serial planner on the true rollout

    One step is one model call on b * T rows. sg stops the gradient: it reaches actions through the model, and states
    only as targets. States, their steps and their noise are in units of ``Problem.scale``.

    Args:
        state_lr: eta_s.
        action_lr: eta_a, in action units.
        state_noise: sigma; noise goes to the states only.
        goal_weight: gamma. Goal and last target are measured by the problem's own objective, weights included.
        sync: the serial planner, GD or any other; ``None``: actions are rolled out and scored, and not changed.
        sync_every: K, steps from one sync to the next.
        sync_steps: J, steps of ``sync`` in each.
        stop_gradient: False lets gradients pass the model's state input (for ablation: states become exploitable).
        optimiser: ``"adam"`` as in the authors' code, ``"sgd"`` as in the paper's equations.
        initial_noise: standard deviation of the noise on the straight line that the states start on (epsilon).
        noise_schedule: sigma within the K steps between syncs: ``"constant"``, or ``"linear"`` down to 0.
        goal_schedule: the same for gamma.
        reset_states: put the virtual states on the rollout after a sync (the authors' code: no).
        reset_moments: forget Adam's moments at a sync (the authors' code: yes).
        gap_std: with CEM, ICEM or MPPI as sync: their deviation at each step of time is this times the gap between
            virtual and rolled-out states there; 0 leaves them their own.
        particles: chains a problem, each with noise of its own; the best rollout among them is the plan.
        start_std: deviation, around the given actions, of those that particles after the first begin with.
        polish: a serial planner that goes on from the best plan when all steps are made, such as ``GD(rate=0.05)``: one
            plan a problem, where a sync works on every particle. ``None``: as published, the run ends on a sync.
        polish_steps: steps of ``polish``; ``plan`` keeps the budget for them, at most three tenths of it.
        tolerance: stop a problem whose best cost is at or below this.

    Raises:
        GraspPlannerError: a setting is out of range.

    Example:
        >>> from grasp_planner import CEM, GRASP
        >>> planner = GRASP(sync=CEM(samples=64, elites=8), sync_every=50, sync_steps=5)

    Source: GRASP (arXiv 2602.00475), section 3, equations 10 to 15. Differences: the best rollout seen is returned,
    not the last iterate; a run ends on a sync, a shorter one where the budget leaves no room for a whole one; a sync
    hands on its best rollout; bounds hold. Published settings are in ``grasp_planner.planners.presets``.
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
    initial_noise: float = 0.0  # eps
    noise_schedule: Schedule = "constant"
    goal_schedule: Schedule = "constant"
    reset_states: bool = False
    reset_moments: bool = True
    gap_std: float = 0.0
    particles: int = 1
    start_std: float = 0.0
    polish: Planner | None = None
    polish_steps: int = 100
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        at_least(
            self,
            0,
            "state_lr",
            "action_lr",
            "state_noise",
            "goal_weight",
            "initial_noise",
            "gap_std",
            "start_std",
            "tolerance",
        )
        whole(self, 1, "sync_every", "sync_steps", "particles", "polish_steps")
        flag(self, "stop_gradient", "reset_states", "reset_moments")
        one_of(self, "optimiser", ("adam", "sgd"))
        one_of(self, "noise_schedule", ("constant", "linear"))
        one_of(self, "goal_schedule", ("constant", "linear"))
        if self.sync is not None and not is_planner(self.sync):
            raise GraspPlannerError(f"GRASP.sync must be None or a planner such as GD(), got {self.sync!r}")
        check_polish(self)
        if self.gap_std > 0 and not isinstance(self.sync, (CEM, ICEM, MPPI)):
            raise GraspPlannerError(
                f"GRASP.gap_std sets the deviation of a sampling sync (CEM, ICEM, MPPI), got sync={self.sync!r}"
            )

    @property
    def rollouts_per_step(self) -> int:
        """T rows a particle; a step that syncs costs ``rollouts_to_finish`` more."""
        return self.particles

    @property
    def rollouts_to_finish(self) -> int:
        """One sync."""
        if self.sync is None:
            return self.particles
        serial = self.sync_steps * self.sync.rollouts_per_step + max(1, self.sync.rollouts_to_finish)
        return self.particles * (serial + (1 if self.gap_std > 0 else 0))

    @property
    def serial_rollouts_to_finish(self) -> int:
        """The steps of a sync, which all particles take together."""
        if self.sync is None:
            return 1
        return self.sync_steps + max(1, self.sync.serial_rollouts_to_finish) + (1 if self.gap_std > 0 else 0)

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> GRASPState:
        """States on the straight line from start to goal, plus noise; the actions as given, or near them."""
        many = problem.repeat(self.particles)
        states = straight_line(many, self.initial_noise, noise.repeat(self.particles))
        actions = spread(problem, actions, self.particles, self.start_std, noise.fold(0)).flatten(0, 1)
        leader = torch.zeros(problem.batch, dtype=torch.long, device=actions.device)
        return GRASPState(states, actions, Moments.zeros(states), Moments.zeros(actions), 0, leader, None)

    def step(self, problem: Problem, state: GRASPState, noise: Noise) -> GRASPState:
        """One lifted step; after every ``sync_every`` of them, a sync."""
        many = problem.repeat(self.particles)
        left = 1.0 - (state.step % self.sync_every) / self.sync_every
        gamma = self.goal_weight * (left if self.goal_schedule == "linear" else 1.0)
        sigma = self.state_noise * (left if self.noise_schedule == "linear" else 1.0)
        unit = many.unit[:, None]

        def loss(actions: Tensor, states: Tensor) -> tuple[Tensor, None]:
            return lifted_loss(many, states, actions, gamma, self.stop_gradient), None

        (to_actions, to_states), _ = with_gradients(loss, state.actions, state.states)
        scaled, to_scaled = state.states / unit, to_states * unit
        # A state's gradient is twice its defect. On a fresh rollout that is rounding error alone, which Adam would
        # blow up to full steps if its epsilon did not say what counts as zero.
        nil = torch.finfo(scaled.dtype).eps ** 0.5
        scaled, state_moments = descend(self.optimiser, self.state_lr, scaled, to_scaled, state.state_moments, nil)
        if sigma > 0:
            drawn = noise.repeat(self.particles).normal(tuple(scaled.shape[1:]), scaled.dtype)
            scaled = torch.add(scaled, drawn, alpha=sigma)
        actions, action_moments = descend(
            self.optimiser, self.action_lr, state.actions, to_actions, state.action_moments
        )
        state = GRASPState(
            scaled * unit,
            many.clamp(actions),
            state_moments,
            action_moments,
            state.step + 1,
            state.leader,
            None,
        )
        return self.synchronise(problem, state, noise.fold(0)) if state.step % self.sync_every == 0 else state

    def synchronise(self, problem: Problem, state: GRASPState, noise: Noise) -> GRASPState:
        """J steps of the serial planner on the true rollout of every particle."""
        many = problem.repeat(self.particles)
        synced = score(many, state.actions) if self.sync is None else self._serial(many, state, self.sync, noise)
        best, leader = best_candidate(synced, self.particles)
        return GRASPState(
            synced.states[:, :-1] if self.reset_states else state.states,
            synced.actions,
            Moments.zeros(state.states) if self.reset_moments else state.state_moments,
            Moments.zeros(state.actions) if self.reset_moments else state.action_moments,
            state.step,
            leader,
            best,
        )

    def _serial(self, many: Problem, state: GRASPState, sync: Planner, noise: Noise) -> Scored:
        """The best rollout that the serial planner sees, its last plan included."""
        streams = noise.repeat(self.particles)
        serial: Any = sync.init(many, state.actions, streams)
        if self.gap_std > 0:
            serial = serial._replace(std=self.gap_std * gap_deviation(many, state.states, state.actions))
        return best_seen(many, sync, serial, self.sync_steps, streams) or score(many, sync.actions(serial))

    @property
    def rollouts_to_polish(self) -> int:
        """All steps of ``polish``, on one plan."""
        return rollouts_to_polish(self.polish, self.polish_steps)

    def polished(self, problem: Problem, best: Scored, noise: Noise) -> Scored | None:
        """The serial planner of the polish, from the best plan on."""
        return polish_of(problem, self.polish, self.polish_steps, best, noise)

    def finish(self, problem: Problem, state: GRASPState, noise: Noise) -> GRASPState:
        """End on a sync, unless the last step was one."""
        if state.step > 0 and state.step % self.sync_every == 0:
            return state._replace(scored=None)
        return self.synchronise(problem, state, noise)

    def virtual(self, state: GRASPState) -> Float[Tensor, "b t_less_1 s"]:
        """The virtual states of that particle."""
        return leading(state.states, state.leader)

    def actions(self, state: GRASPState) -> Float[Tensor, "b t a"]:
        """The current actions of the particle that was best at the last sync."""
        return leading(state.actions, state.leader)
