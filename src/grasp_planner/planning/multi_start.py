"""MultiStart: run any planner from many starts in one batch, with selection and kicks between restarts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.checks import at_least, between_zero_and_one, whole
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, best_of
from grasp_planner.core.problem import Problem
from grasp_planner.planning.candidates import best_candidate, finite_costs, leading, spread
from grasp_planner.planning.coloured import coloured
from grasp_planner.planning.protocol import Planner, check_planner, tolerance_of, virtual_states

_PROGRESS = 0.95  # a problem makes progress if its lowest cost falls at least to this share between two restarts
_MOST_GROWTH = 1e6  # of kicks, so that the kicks of a problem that stalls for thousands of steps do not overflow


class MultiStartState(NamedTuple):
    """The state of the inner planner, with a row for every start of every problem.

    Attributes:
        inner: the inner planner's state.
        starts: the present number of starts per problem.
        leader: the start of each problem that was best when the starts were last scored.
        best: the best plan that each start has seen since it last took over a plan; ``None`` if nothing was scored yet,
            or if no restart will follow.
        steps: steps of the inner planner since the last restart.
        lowest: the lowest cost of each problem at the last restart; infinite before.
        kick_std: standard deviation of the next kicks of each problem.
    """

    inner: Any
    starts: int
    leader: Int[Tensor, " b"]
    best: Scored | None
    steps: int
    lowest: Float[Tensor, " b"]
    kick_std: Float[Tensor, " b"]


@dataclass(frozen=True)
class MultiStart:
    """Run a planner from several starts per problem in one batch. Each start has its own noise.

        a^1 = the given actions,    a^j ~ clamp(N(a^1, start_std^2)),  j = 2..n
        every step: one step of the inner planner on all n starts;  the plan is the plan of the best start
        after every K such steps, a restart:
            the worst n - m starts take over the best plans of the m best starts,  m = survivors * n
            a^j <- clamp(best plan of start j + std * xi^j),   and the inner planner begins again
            std <- kick_std if the lowest cost has fallen by 5 %, otherwise kick_growth * std

    One step is one step of the inner planner on b * n rows. Without restarts, the starts do not influence each other.
    The noise xi has the power spectrum 1 / f^noise_beta over time: with noise_beta > 0 it is smooth.

    With ``race_starts``, planning begins with more than n starts. After ``race_steps`` steps, a restart keeps only the
    n best starts: many starts get few steps, and few starts get many steps.

    Args:
        planner: the inner planner, which sees ``b * starts`` problems.
        starts: n, number of starts per problem.
        start_std: standard deviation of the starts around the given actions, in action units.
        restart_every: K, steps of the inner planner between two restarts. ``None``: no restarts.
        survivors: share of the starts whose plans are kept at a restart, at least one start.
        kick_std: standard deviation of the noise on the plans at a restart, in action units.
        kick_growth: factor by which the kicks of a problem grow at each restart at which its lowest cost has not fallen
            by 5 %. After a fall, the kicks have the standard deviation ``kick_std`` again.
        noise_beta: exponent of the power spectrum of starts and kicks. 0: white noise.
        race_starts: number of starts at the beginning, at least ``starts``. ``None``: no race.
        race_steps: steps of the inner planner before the race ends.
        tolerance: stop a problem whose best cost is at or below this. It is raised to the inner planner's tolerance.

    Raises:
        GraspPlannerError: a setting is out of range, ``race_starts`` is less than ``starts``, or ``planner`` is not a
            planner.

    Example:
        >>> from grasp_planner import GaussNewton, MultiStart
        >>> planner = MultiStart(GaussNewton(), starts=16, start_std=2.0, restart_every=7, survivors=0.5, kick_std=1.0)

    Source: random restarts are common practice; restarts from kicked optima are iterated local search (Lourenco, Martin
    and Stuetzle, 2003), and selection among starts is as in evolution strategies. Coloured noise is as in iCEM (Pinneri
    et al., arXiv 2008.06389).
    """

    planner: Planner
    starts: int = 16
    start_std: float = 1.0
    restart_every: int | None = None
    survivors: float = 1.0
    kick_std: float = 0.0
    kick_growth: float = 1.0
    noise_beta: float = 0.0
    race_starts: int | None = None
    race_steps: int = 7
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_planner(self, "planner")
        at_least(self, 1, "kick_growth")
        whole(self, 1, "starts", "race_steps", *(("restart_every",) if self.restart_every is not None else ()))
        if self.race_starts is not None:
            whole(self, self.starts, "race_starts")
        between_zero_and_one(self, "survivors")
        at_least(self, 0, "start_std", "kick_std", "noise_beta", "tolerance")
        object.__setattr__(self, "tolerance", max(self.tolerance, tolerance_of(self.planner)))

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> MultiStartState:
        """Draw the starts; the first start is at the given actions."""
        count = self.starts if self.race_starts is None else self.race_starts
        starts = spread(problem, actions, count, self.start_std, noise.fold(0), self.noise_beta).flatten(0, 1)
        inner = self.planner.init(problem.repeat(count), starts, noise.fold(1).repeat(count))
        leader = torch.zeros(problem.batch, dtype=torch.long, device=actions.device)
        lowest, kick_std = (torch.full_like(actions[:, 0, 0], value) for value in (torch.inf, self.kick_std))
        return MultiStartState(inner, count, leader, best=None, steps=0, lowest=lowest, kick_std=kick_std)

    def step(self, problem: Problem, state: MultiStartState, noise: Noise) -> tuple[MultiStartState, Scored | None]:
        """Make one step of the inner planner on every start, after a restart if one is due."""
        every = self.steps_to_restart(state)
        if every is not None and state.steps >= every and state.best is not None:
            state = self.restarted(problem, state, noise.fold(0))
            every = self.steps_to_restart(state)
        inner, scored = self.planner.step(problem.repeat(state.starts), state.inner, noise.repeat(state.starts))
        best = None if every is None else best_of(state.best, scored)  # only restarts need it
        state = state._replace(inner=inner, best=best, steps=state.steps + 1)
        if scored is None:
            return state, None
        winner, leader = best_candidate(scored, state.starts)
        return state._replace(leader=leader), winner

    def steps_to_restart(self, state: MultiStartState) -> int | None:
        """Return the number of steps between two restarts: that of the race before the race has ended."""
        return self.race_steps if state.starts > self.starts else self.restart_every

    def restarted(self, problem: Problem, state: MultiStartState, noise: Noise) -> MultiStartState:
        """Let the worst starts take over the plans of the best starts, or end the race; kick all plans; begin again."""
        best, leader = self.selected(state)
        lowest = finite_costs(best, self.starts).amin(1)
        stalled = lowest > _PROGRESS * state.lowest
        grown = (state.kick_std * self.kick_growth).clamp(max=_MOST_GROWTH * self.kick_std)
        kick_std = torch.where(stalled, grown, self.kick_std)
        white = noise.fold(0).normal((self.starts, *best.actions.shape[1:]), best.actions.dtype)
        kicks = (kick_std[:, None, None, None] * coloured(white, self.noise_beta)).flatten(0, 1)
        many = problem.repeat(self.starts)
        inner = self.planner.init(many, problem.clamp(best.actions + kicks), noise.fold(1).repeat(self.starts))
        return MultiStartState(inner, self.starts, leader, best, steps=0, lowest=lowest, kick_std=kick_std)

    def selected(self, state: MultiStartState) -> tuple[Scored, Int[Tensor, " b"]]:
        """Return the plans of the n starts after a restart, and the position of the leader among them.

        At the end of a race, they are the n best plans. Otherwise, the best starts keep their plans, and the worst
        starts have taken over the plans of the best starts.
        """
        assert state.best is not None
        order = finite_costs(state.best, state.starts).argsort(dim=1, stable=True)
        if state.starts > self.starts:
            source, leader = order[:, : self.starts], torch.zeros_like(state.leader)
        else:
            kept = max(1, round(self.survivors * self.starts))
            source, leader = torch.empty_like(order), state.leader
            source.scatter_(1, order, order[:, torch.arange(self.starts, device=order.device) % kept])
        rows = (source + state.starts * torch.arange(len(order), device=order.device)[:, None]).flatten()
        return Scored(state.best.actions[rows], state.best.states[rows], state.best.cost[rows]), leader

    def actions(self, state: MultiStartState) -> Float[Tensor, "b t a"]:
        """Return the actions of the start that was best when the starts were last scored."""
        return leading(self.planner.actions(state.inner), state.leader)

    def virtual(self, state: MultiStartState) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states of the best start; ``None`` if the inner planner has no virtual states."""
        states = virtual_states(self.planner, state.inner)
        return None if states is None else leading(states, state.leader)
