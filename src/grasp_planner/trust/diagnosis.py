"""What a plan rests on: whether its states are real, whether the model was exploited, and how far to believe it."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.frozen import frozen
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Diagnosis, Plan
from grasp_planner.core.problem import Problem
from grasp_planner.planning.memory import within_memory
from grasp_planner.planning.meter import Meter
from grasp_planner.trust.law import TrustLaw, disagreement_of

_PROBES, _STEP = 8, 1e-3


@runtime_checkable
class Lifted(Protocol):
    """A planner whose states are variables, such as ``GRASP`` and ``LatCo``."""

    def virtual(self, state: Any) -> Float[Tensor, "b t_less_1 s"]:
        """Its virtual states s_1 .. s_{T-1}, beside the actions of ``actions(state)``."""
        ...

    def actions(self, state: Any) -> Float[Tensor, "b t a"]:
        """The current plan."""
        ...


def diagnose(problem: Problem, found: Plan, law: TrustLaw | None = None, *, steep: float = 2.0) -> Diagnosis:
    """Diagnose a plan: a few model calls, none of them in a planner's budget. ``plan(..., trust=law)`` does it, too.

    Where memory does not suffice, calls are cut into pieces, as in ``plan``.

    Args:
        problem: the one that was planned for.
        found: its plan.
        law: when to stop believing; ``None``: ``TrustLaw()``, whose numbers are no one's calibration.
        steep: the gain above which a step counts as exploited.

    Raises:
        GraspPlannerError: memory does not suffice even for one row of the model at a time.

    Example:
        >>> from grasp_planner import GRASP, Budget, Markov, plan
        >>> step = Markov(lambda state, action: 0.5 * state + action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.ones(1, 2), 5, -torch.ones(2), torch.ones(2))
        >>> found = diagnose(problem, plan(problem, GRASP(), Budget(steps=10)))
        >>> found.gain, found.exploited, found.gap.shape, found.trust
        (tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.5000]]), tensor([0.]), torch.Size([1, 4]), tensor([5]))
    """
    law = TrustLaw() if law is None else law
    meter = Meter(problem.dynamics)
    with torch.no_grad(), frozen(problem.dynamics):
        return within_memory(meter, partial(_diagnosis, problem.through(meter), found, law, steep))


def _diagnosis(problem: Problem, found: Plan, law: TrustLaw, steep: float) -> Diagnosis:
    gain = _gain(problem, found)
    unsure = disagreement_of(problem.dynamics, *problem.windows(_before(problem, found.states), found.actions))
    error = law.errors(problem, found.actions)
    return Diagnosis(
        gap=_gap(problem, found),
        gain=gain,
        exploited=(gain > steep).to(gain).mean(1),
        disagreement=None if unsure is None else unsure.unflatten(0, (*found.cost.shape, -1)),
        error=error,
        trust=(error <= law.tolerance).long().cumprod(1).sum(1),
    )


def _before(problem: Problem, states: Tensor) -> Tensor:
    """s_0 .. s_{T-1}, of s_1 .. s_T."""
    return torch.cat([problem.start[:, None], states[:, :-1]], dim=1)


def _gain(problem: Problem, found: Plan) -> Tensor:
    """Differences of one-step predictions over small random differences of the newest state, by finite differences."""
    batch, horizon, size = found.states.shape
    windows, blocks = problem.windows(_before(problem, found.states), found.actions)
    unit = problem.unit.repeat_interleave(horizon, dim=0)
    step = _STEP if windows.dtype == torch.float64 else 10 * _STEP  # above what rounding leaves
    probes = Noise.of(0, 1, windows.device).normal((_PROBES, size), windows.dtype)[0]
    probes = step * probes / probes.square().mean(1, keepdim=True).sqrt()
    plain = problem.call(windows, blocks)
    total = torch.zeros_like(plain[:, 0])
    for probe in probes:
        moved = torch.cat([windows[:, :-1], windows[:, -1:] + (probe * unit)[:, None]], dim=1)
        total += (((problem.call(moved, blocks) - plain) / unit / step).square()).mean(-1)
    return (total / _PROBES).sqrt().unflatten(0, (batch, horizon))


def _gap(problem: Problem, found: Plan) -> Tensor | None:
    planner, state = found.warm_start.planner, found.warm_start.state
    if state is None or not isinstance(planner, Lifted):
        return None
    return virtual_from_rollout(problem, planner, state).square().mean(-1).sqrt()


def virtual_from_rollout(problem: Problem, planner: Lifted, state: Any) -> Float[Tensor, "b t_less_1 s"]:
    """Virtual states less the rollout of the actions beside them, in units of the scale."""
    with torch.no_grad():
        return (planner.virtual(state) - problem.rollout(planner.actions(state))[:, :-1]) / problem.unit[:, None]
