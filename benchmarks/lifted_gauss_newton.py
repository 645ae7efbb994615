"""A variant of GRASP whose lifted steps change the actions by Gauss-Newton steps, for `exploration.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner import GaussNewton, Problem, Scored
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import score
from grasp_planner.planners.lifted import diffused
from grasp_planner.planners.linearisation import linearise


class LiftedState(NamedTuple):
    """Virtual states, actions, the number of steps of the present cycle, and the state of the sync.

    Attributes:
        states: s_1 .. s_{T-1}.
        actions: a_0 .. a_{T-1}.
        phase: steps since the last sync.
        serial: the state of the sync; ``None`` outside of a sync.
    """

    states: Float[Tensor, "b t_less_1 s"]
    actions: Float[Tensor, "b t a"]
    phase: int
    serial: object


@dataclass(frozen=True)
class LiftedGaussNewton:
    """Solve for each action on its own, given the virtual states; then move the states towards the predictions.

        e_t = s_{t+1} - F(s_t, a_t) + gamma (g - F(s_t, a_t))
        a_t <- clamp(a_t + ((1 + gamma) B_t'B_t + lambda I)^-1 B_t' e_t),    B_t = dF/da at (s_t, a_t)
        s_{t+1} <- s_{t+1} + share (F(s_t, a_t) - s_{t+1}) + sigma xi_t

    After ``lifted`` such steps, ``sync`` makes ``sync_steps`` steps from the actions, and the states of the next cycle
    begin at the rollout of its actions.

    Args:
        lifted: number of lifted steps in a cycle.
        sync_steps: number of steps of ``sync`` in a cycle.
        share: how far the states move to the predictions. 1: a Picard iteration of the rollout.
        damping: lambda, relative to the mean of the diagonal of B_t'B_t.
        goal_weight: gamma at the first lifted step of a cycle. It falls linearly to 0.
        state_noise: sigma at the first lifted step of a cycle. It falls linearly to 0.
        noise_beta: exponent of the power spectrum of xi over time.
        sync: the serial planner.
        tolerance: stop a problem whose best cost is at or below this.
    """

    lifted: int = 2
    sync_steps: int = 13
    share: float = 0.5
    damping: float = 0.03
    goal_weight: float = 0.03
    state_noise: float = 0.5
    noise_beta: float = 2.0
    sync: GaussNewton = GaussNewton()
    tolerance: float = 0.0

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> LiftedState:
        """Begin at the end of a sync, so that the first step rolls the actions out."""
        return LiftedState(
            problem.start[:, None].expand(-1, problem.horizon - 1, -1), actions, self.lifted + self.sync_steps, None
        )

    def step(self, problem: Problem, state: LiftedState, noise: Noise) -> tuple[LiftedState, Scored | None]:
        """Make a lifted step, or a step of the sync."""
        if state.phase < self.lifted:
            return self.lifted_step(problem, state, noise), None
        if state.phase == self.lifted + self.sync_steps:
            last = score(problem, self.actions(state))
            return LiftedState(last.states[:, :-1], last.actions, 0, None), last
        serial = state.serial
        if serial is None:
            serial = self.sync.init(problem, state.actions, noise.fold(0))
        serial, scored = self.sync.step(problem, serial, noise.fold(1))  # type: ignore[arg-type]
        return state._replace(phase=state.phase + 1, serial=serial), scored

    def lifted_step(self, problem: Problem, state: LiftedState, noise: Noise) -> LiftedState:
        """Change actions and virtual states at all time steps in one parallel model call."""
        left = 1.0 - state.phase / self.lifted
        gamma = self.goal_weight * left
        goal = problem.goal[:, None]
        after = torch.cat([state.states, goal], dim=1)
        model = linearise(problem, after, state.actions)
        by_action = model.by_action[:, :, :, -1]
        missed = after - model.predicted + gamma * (goal - model.predicted)
        normal = (1.0 + gamma) * by_action.mT @ by_action
        ridge = self.damping * normal.diagonal(dim1=-2, dim2=-1).mean((-2, -1)) + torch.finfo(normal.dtype).tiny ** 0.5
        normal.diagonal(dim1=-2, dim2=-1).add_(ridge[:, None, None])
        change = torch.linalg.solve(normal, by_action.mT @ missed[..., None])[..., 0]
        towards = self.share * (model.predicted[:, :-1] - state.states)
        states = diffused(state.states + towards, self.state_noise * left, self.noise_beta, noise)
        return LiftedState(states, problem.clamp(state.actions + change), state.phase + 1, None)

    def actions(self, state: LiftedState) -> Float[Tensor, "b t a"]:
        """Return the current actions; during a sync, those of the serial planner."""
        return state.actions if state.serial is None else self.sync.actions(state.serial)  # type: ignore[arg-type]
