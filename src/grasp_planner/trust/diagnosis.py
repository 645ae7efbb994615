"""Diagnose a plan: gap of the virtual states, gain of the model, disagreement, trust horizon, margins of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.constraints import Constrained, path_of
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.events import Event, of_trajectories
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Plan
from grasp_planner.core.problem import Problem
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.planning.memory import within_memory
from grasp_planner.planning.meter import Meter
from grasp_planner.planning.protocol import Planner, virtual_states
from grasp_planner.trust.law import TrustLaw, disagreement_of

_PROBES, _STEP = 8, 1e-3


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The diagnosis of a plan before it is executed. All distances are in units of the problem's scale.

    Attributes:
        gap: (b, t-1) root mean square distance, at the end of planning, between the planner's virtual states
            s_1 .. s_{T-1} and the rollout of its actions; ``None`` for planners without virtual states.
        gain: (b, t) factor by which a small difference in the state grows in each step of the plan, root mean square
            over directions. A large gain means that the model is steep there, which an optimiser can exploit.
        exploited: (b,) share of the steps whose gain is above ``steep``.
        disagreement: (b, t) disagreement of an ensemble along the plan; ``None`` if the model is not an ensemble.
        error: (b, t) predicted errors of the plan's states, by the trust law.
        trust: (b,) model steps up to which the plan can be trusted.
        margins: (b,) exact margin along the plan, in the event's own units, of each event that ``diagnose`` was given,
            by name, and of the event of a ``Constrained`` objective as ``"constraint"``. A plan passes the check of an
            event if the margin is at least 0.

    Example:
        >>> from grasp_planner import GD, Budget, Markov, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.ones(1, 2), 20, -torch.ones(2), torch.ones(2))
        >>> told = diagnose(problem, plan(problem, GD(), Budget(steps=5)))
        >>> told.gain.shape, told.disagreement is None
        (torch.Size([1, 20]), True)
    """

    gap: Float[Tensor, "b t_less_1"] | None
    gain: Float[Tensor, "b t"]
    exploited: Float[Tensor, " b"]
    disagreement: Float[Tensor, "b t"] | None
    error: Float[Tensor, "b t"]
    trust: Int[Tensor, " b"]
    margins: dict[str, Float[Tensor, " b"]] = field(default_factory=dict)


def diagnose(
    problem: Problem,
    plan: Plan,
    law: TrustLaw | None = None,
    *,
    steep: float = 2.0,
    events: Mapping[str, Event] | None = None,
) -> Diagnosis:
    """Diagnose a plan with a few model calls, which are not part of any budget.

    If memory does not suffice, calls are split into pieces, as in planning.

    Args:
        problem: the problem that the plan was made for.
        plan: the plan.
        law: the law that predicts errors and the trust horizon; ``None``: ``TrustLaw()``, which is not calibrated.
        steep: the gain above which a step counts as exploited.
        events: events to check along the plan, by name. An event that was calibrated, as
            :func:`~grasp_planner.trust.verification.required_margin` describes, is a verifier of plans. The name
            ``"constraint"`` is reserved for the event of a ``Constrained`` objective.

    Raises:
        GraspPlannerError: not even one row of the model at a time fits into memory, an event is not an event of whole
            trajectories, or its name is reserved.

    Example:
        >>> from grasp_planner import GRASP, Budget, Markov, diagnose, plan
        >>> step = Markov(lambda state, action: 0.5 * state + action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.ones(1, 2), 5, -torch.ones(2), torch.ones(2))
        >>> found = diagnose(problem, plan(problem, GRASP(), Budget(steps=10)))
        >>> found.gain, found.exploited, found.gap.shape, found.trust
        (tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.5000]]), tensor([0.]), torch.Size([1, 4]), tensor([5]))
    """
    law = TrustLaw() if law is None else law
    meter, asked = Meter(problem.dynamics), _events(problem, events or {})
    with planning_mode(problem.states.device, problem.dynamics, asked):
        return within_memory(meter, partial(_diagnosis, problem.through(meter), plan, law, steep, asked))


def _diagnosis(problem: Problem, plan: Plan, law: TrustLaw, steep: float, events: Mapping[str, Event]) -> Diagnosis:
    gain = _gain(problem, plan)
    unsure = disagreement_of(problem.dynamics, *problem.windows(_before(problem, plan.states), plan.actions))
    error = law.errors(problem, plan.actions)
    path = path_of(problem, plan.states, plan.actions)
    apart = virtual_from_rollout(problem, plan.warm_start.planner, plan.warm_start.state)
    return Diagnosis(
        gap=None if apart is None else apart.square().mean(-1).sqrt(),
        gain=gain,
        exploited=(gain > steep).to(gain).mean(1),
        disagreement=None if unsure is None else unsure.unflatten(0, (*plan.cost.shape, -1)),
        error=error,
        trust=(error <= law.tolerance).long().cumprod(1).sum(1),
        margins={name: event.margin(*path) for name, event in events.items()},
    )


def _events(problem: Problem, events: Mapping[str, Event]) -> dict[str, Event]:
    """Return the event of a ``Constrained`` objective as ``"constraint"``, followed by the given events."""
    if "constraint" in events:
        raise GraspPlannerError("events: the name 'constraint' is reserved for the event of a Constrained objective")
    own = {"constraint": problem.objective.event} if isinstance(problem.objective, Constrained) else {}
    return own | {name: of_trajectories(event, f"events[{name!r}]") for name, event in events.items()}


def _before(problem: Problem, states: Float[Tensor, "b t s"]) -> Float[Tensor, "b t s"]:
    """Return s_0 .. s_{T-1} for s_1 .. s_T."""
    return torch.cat([problem.start[:, None], states[:, :-1]], dim=1)


def _gain(problem: Problem, plan: Plan) -> Float[Tensor, "b t"]:
    """Estimate the gain of each step by finite differences in random directions of the newest state."""
    batch, horizon, size = plan.states.shape
    windows, blocks = problem.windows(_before(problem, plan.states), plan.actions)
    unit = problem.unit.repeat_interleave(horizon, dim=0)
    step = _STEP if windows.dtype == torch.float64 else 10 * _STEP  # well above rounding
    probes = Noise.of(0, 1, windows.device).normal((_PROBES, size), windows.dtype)[0]
    probes = step * probes / probes.square().mean(1, keepdim=True).sqrt()
    plain = problem.call(windows, blocks)
    total = torch.zeros_like(plain[:, 0])
    for probe in probes:
        moved = torch.cat([windows[:, :-1], windows[:, -1:] + (probe * unit)[:, None]], dim=1)
        total += (((problem.call(moved, blocks) - plain) / unit / step).square()).mean(-1)
    return (total / _PROBES).sqrt().unflatten(0, (batch, horizon))


def virtual_from_rollout(problem: Problem, planner: Planner, state: Any) -> Float[Tensor, "b t_less_1 s"] | None:
    """Return virtual states minus the rollout of the planner's actions, in units of the scale.

    Args:
        problem: the problem that the planner works on, in the caller's own latent units.
        planner: the planner.
        state: the planner's state, from a warm start or from a callback; ``None`` if there is no state yet.

    Returns:
        The differences ``(b, t-1, s)``; ``None`` if the planner has no virtual states or no state yet.
    """
    virtual = None if state is None else virtual_states(planner, state)
    if virtual is None:
        return None
    with torch.no_grad():
        return virtual - problem.rollout(planner.actions(state))[:, :-1] / problem.unit[:, None]
