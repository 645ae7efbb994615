"""What a plan rests on: whether its states are real, whether the model was exploited, and how far to believe it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.frozen import frozen
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Plan
from grasp_planner.core.problem import Problem
from grasp_planner.planning.memory import within_memory
from grasp_planner.planning.meter import Meter
from grasp_planner.planning.protocol import Planner, virtual_states
from grasp_planner.trust.law import TrustLaw, disagreement_of

_PROBES, _STEP = 8, 1e-3


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What there is to know about a plan without carrying it out. All in units of the problem's scale.

    Attributes:
        gap: (b, t-1) root mean square distance of the virtual states s_1 .. s_{T-1} from the rollout of the actions
            beside them, when planning ended; ``None`` for planners without virtual states.
        gain: (b, t) how much a small difference in the state grows in each step of the plan, root mean square over
            directions. Where it is large the model is steep: a place that an optimiser can exploit.
        exploited: (b,) share of the steps whose gain is above ``steep``.
        disagreement: (b, t) of an ensemble along the plan; ``None`` where the model is none.
        error: (b, t) how far the plan's states may be off, by the law of trust.
        trust: (b,) steps up to which the plan can be believed.
    """

    gap: Float[Tensor, "b t_less_1"] | None
    gain: Float[Tensor, "b t"]
    exploited: Float[Tensor, " b"]
    disagreement: Float[Tensor, "b t"] | None
    error: Float[Tensor, "b t"]
    trust: Int[Tensor, " b"]


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
    difference = None if state is None else virtual_from_rollout(problem, planner, state)
    return None if difference is None else difference.square().mean(-1).sqrt()


def virtual_from_rollout(problem: Problem, planner: Planner, state: Any) -> Float[Tensor, "b t_less_1 s"] | None:
    """Subtract the rollout of a state's actions from its virtual states, in units of the scale.

    ``None`` if the planner has no virtual states.
    """
    virtual = virtual_states(planner, state)
    if virtual is None:
        return None
    with torch.no_grad():
        return virtual - problem.normalised().rollout(planner.actions(state))[:, :-1]
