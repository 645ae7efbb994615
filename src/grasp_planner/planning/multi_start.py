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
from grasp_planner.planning.candidates import best_candidate, finite_costs, fittest, leading, spread
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
        steps_left: steps of the inner planner until the next restart is due; ``None`` if no restart will follow.
        lowest: the lowest cost of each problem at the last restart; infinite before.
        kick_std: standard deviation of the next kicks of each problem.
    """

    inner: Any
    starts: int
    leader: Int[Tensor, " b"]
    best: Scored | None
    steps_left: int | None
    lowest: Float[Tensor, " b"]
    kick_std: Float[Tensor, " b"]


@dataclass(frozen=True)
class MultiStart:
    """Run a planner from several starts per problem in one batch. Each start has its own noise.

        a^1 = the given actions,    a^j ~ clamp(N(a^1, start_std^2)),  j = 2..n
        every step: one step of the inner planner on all n starts;  the plan is the plan of the best start
        after every K such steps, a restart:
            the n starts take over the best plans of the m best starts, in turn,  m = survivors * n
            a^j <- clamp(plan of start j + std * xi^j),   and the inner planner begins again
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
        survivors: share of the starts whose plans are kept at a restart, at least one start. It has
            no effect without ``restart_every``.
        kick_std: standard deviation of the noise on the plans at a restart and at the end of a race, in action units.
            It has no effect if ``restart_every`` and ``race_starts`` are both ``None``.
        kick_growth: factor by which the kicks of a problem grow at each restart at which its lowest cost has not fallen
            by 5 %. After a fall, the kicks have the standard deviation ``kick_std`` again. It has no effect without
            ``restart_every``, or if ``kick_std`` is 0.
        noise_beta: exponent of the power spectrum of starts and kicks. 0: white noise.
        race_starts: number of starts at the beginning, at least ``starts``. ``None`` or ``starts``: no race.
        race_steps: steps of the inner planner before the race ends. It has no effect without ``race_starts``.
        tolerance: stop a problem whose best cost is at or below this. It is raised to the inner planner's tolerance.

    Raises:
        GraspPlannerError: a setting is out of range, ``race_starts`` is less than ``starts``, or ``planner`` is not a
            planner.

    Example:
        >>> from grasp_planner import GaussNewton, MultiStart
        >>> planner = MultiStart(GaussNewton(), starts=16, start_std=2.0, restart_every=7, survivors=0.5, kick_std=1.0)

    Source: random restarts are common practice; restarts from kicked optima are iterated local search (Lourenco, Martin
    and Stuetzle, 2003), and selection among starts is as in evolution strategies. The race is successive halving
    (Jamieson and Talwalkar, arXiv 1502.07943) with one halving. Coloured noise is as in iCEM (Pinneri et al., arXiv
    2008.06389).
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
        whole(self, self.starts, *(("race_starts",) if self.race_starts is not None else ()))
        between_zero_and_one(self, "survivors")
        at_least(self, 0, "start_std", "kick_std", "noise_beta", "tolerance")
        object.__setattr__(self, "tolerance", max(self.tolerance, tolerance_of(self.planner)))

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> MultiStartState:
        """Draw the starts; the first start is at the given actions."""
        count = max(self.starts, self.race_starts or 0)
        steps = self.race_steps if count > self.starts else self.restart_every
        starts = spread(problem, actions, count, self.start_std, noise.fold(0), self.noise_beta).flatten(0, 1)
        inner = self.planner.init(problem.repeat(count), starts, noise.fold(1).repeat(count))
        leader = torch.zeros(problem.batch, dtype=torch.long, device=actions.device)
        lowest, kick_std = (torch.full_like(actions[:, 0, 0], value) for value in (torch.inf, self.kick_std))
        return MultiStartState(inner, count, leader, None, steps, lowest, kick_std)

    def step(self, problem: Problem, state: MultiStartState, noise: Noise) -> tuple[MultiStartState, Scored | None]:
        """Make one step of the inner planner on every start, after a restart if one is due."""
        if state.best is not None and state.steps_left is not None and state.steps_left <= 0:
            state = self.restarted(problem, state, state.best, noise.fold(0))
        inner, scored = self.planner.step(problem.repeat(state.starts), state.inner, noise.repeat(state.starts))
        left = None if state.steps_left is None else state.steps_left - 1
        best = None if left is None else best_of(state.best, scored)  # only restarts need it
        state = state._replace(inner=inner, best=best, steps_left=left)
        if scored is None:
            return state, None
        winner, leader = best_candidate(scored, state.starts)
        return state._replace(leader=leader), winner

    def restarted(self, problem: Problem, state: MultiStartState, best: Scored, noise: Noise) -> MultiStartState:
        """Let every start begin again, from a kicked plan of one of the best starts. This also ends a race."""
        racing = state.starts > self.starts
        survivors = self.starts if racing else max(1, round(self.survivors * self.starts))
        best = fittest(best, state.starts, survivors, self.starts)
        lowest = finite_costs(best, self.starts)[:, 0]
        grown = (state.kick_std * self.kick_growth).clamp(max=_MOST_GROWTH * self.kick_std)
        kick_std = torch.where(lowest > _PROGRESS * state.lowest, grown, self.kick_std)
        white = noise.fold(0).normal((self.starts, *best.actions.shape[1:]), best.actions.dtype)
        kicks = (kick_std[:, None, None, None] * coloured(white, self.noise_beta)).flatten(0, 1)
        many, leader = problem.repeat(self.starts), torch.zeros_like(state.leader)
        inner = self.planner.init(many, many.clamp(best.actions + kicks), noise.fold(1).repeat(self.starts))
        return MultiStartState(inner, self.starts, leader, best, self.restart_every, lowest, kick_std)

    def actions(self, state: MultiStartState) -> Float[Tensor, "b t a"]:
        """Return the actions of the start that was best when the starts were last scored."""
        return leading(self.planner.actions(state.inner), state.leader)

    def virtual(self, state: MultiStartState) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states of the best start; ``None`` if the inner planner has no virtual states."""
        states = virtual_states(self.planner, state.inner)
        return None if states is None else leading(states, state.leader)
