"""The fault matrix: every planner with every fault, in every part and at every time.

The expected outcomes are in the table of docs/reliability.md.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import pytest
import torch
from driven import ENVIRONMENTS, World, agent
from expected import cells, table
from faults import BATCH, EXTENTS, HORIZON, KINDS, LATER, PARTS, STEPS, VICTIM, WHENS, Broken, Fault, FaultyObjective
from faults import Model as FaultyModel

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    PLANNERS,
    AugmentedLagrangian,
    Budget,
    GaussNewton,
    GraspPlannerError,
    LatCo,
    MultiStart,
    Plan,
    Planner,
    Problem,
    RandomShooting,
    Sequential,
    Status,
    plan,
)
from grasp_planner.control.current_plans import Source


@dataclass(frozen=True)
class Row:
    planner: Planner
    candidates: int
    """Number of plans per problem that the planner evaluates at once."""

    @property
    def differentiates(self) -> bool:
        """Whether the planner computes gradients of the model, as one run shows."""
        return _differentiates(self.planner)


@functools.cache
def _differentiates(planner: Planner) -> bool:
    model = toys.Counted()
    plan(toys.problem(1, HORIZON, model), planner, Budget(steps=STEPS))
    return model.gradients


SYNC_BY_CEM = GRASP(sync=CEM(samples=4, elites=2), sync_every=2, sync_steps=1)
ROWS = {
    "grasp": Row(GRASP(sync_every=2, sync_steps=1), 1),
    "gd": Row(GD(), 1),
    "cem": Row(CEM(samples=5, elites=2), 5),
    "icem": Row(ICEM(samples=4, elites=2), 5),
    "mppi": Row(MPPI(samples=5), 5),
    "latco": Row(LatCo(dual_every=2, score_every=2), 1),
    "random_shooting": Row(RandomShooting(samples=5), 5),
    "gauss_newton": Row(GaussNewton(rollouts=1), 1),
    "multi_start, grasp": Row(MultiStart(SYNC_BY_CEM, starts=2, start_std=0.0), 2),
    "multi_start, gd": Row(MultiStart(GD(), starts=2), 2),
    "sequential": Row(Sequential(GD(), GD(lr=0.05), share=0.5), 1),
    "augmented_lagrangian": Row(AugmentedLagrangian(GD(), update_every=2), 1),
}
SEEDS = [3, 4]
SECONDS = 5.0
"""Seconds of a budget that one slow call exceeds."""
OTHERS = [i for i in range(BATCH) if i != VICTIM]


def test_every_planner_has_a_row():
    assert {name.partition(",")[0] for name in ROWS} == set(PLANNERS)


def test_the_table_is_whole():
    """Every kind of fault in every part, extent and time. Encoding is done once per problem, not once per candidate."""
    whole = {(p, k, e, w) for p in PARTS for k in KINDS for e in EXTENTS for w in WHENS}
    assert set(table()) == {cell for cell in whole if cell[0] != "encode" or cell[2] != "one candidate"}


def faulty(fault: Fault) -> Problem:
    return toys.problem(BATCH, HORIZON, FaultyModel(fault), objective=FaultyObjective(fault))  # type: ignore[arg-type]


def planned(row: Row, fault: Fault, budget: Budget) -> Plan:
    def watch(progress):
        fault.step = progress.step
        fault.asked = tuple(i for i in range(BATCH) if progress.status[i] not in list(Status)) or fault.asked

    fault.asked = tuple(range(BATCH))
    return plan(faulty(fault), row.planner, budget, seeds=SEEDS, callback=watch)


@functools.cache
def sound(name: str) -> Plan:
    return planned(ROWS[name], Fault("NaN", "forward", "whole batch", "once", 1, gone=True), Budget(steps=STEPS))


def equal(found: Plan, expected: Plan, places: list[int]) -> None:
    for part in ("actions", "states", "cost", "status"):
        assert torch.equal(getattr(found, part)[places], getattr(expected, part)[places]), part


def usable(found: Plan) -> None:
    """Check that plans and warm starts are finite and within bounds."""
    for actions in (found.actions, found.warm_start.actions, *(one.actions for one in found.trace.snapshots)):
        assert torch.isfinite(actions).all() and (actions.abs() <= 1).all()


def same(name: str, fault: Fault) -> None:
    """Check that the plan is the same as without the fault, to the bit."""
    equal(planned(ROWS[name], fault, Budget(steps=STEPS)), sound(name), list(range(BATCH)))


def rounded(name: str, fault: Fault) -> None:
    """Check that the plan is the same as without the fault, except for rounding."""
    found, expected = planned(ROWS[name], fault, Budget(steps=STEPS)), sound(name)
    assert torch.equal(found.status, expected.status) and found.transitions == expected.transitions
    tolerance = 1e-8 if fault.kind == "out of memory" else 1e-5
    torch.testing.assert_close(found.actions, expected.actions, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.cost, expected.cost, rtol=tolerance, atol=tolerance)


def marked(name: str, fault: Fault) -> None:
    """Check that faulty problems are NONFINITE with the best plan from before, and others are as without the fault.

    Other problems agree except for rounding: the model is evaluated only for active problems, and rounding may depend
    on the number of rows.
    """
    found = planned(ROWS[name], fault, Budget(steps=STEPS))
    struck = list(range(BATCH)) if fault.extent == "whole batch" else [VICTIM]
    assert (found.status[struck] == Status.NONFINITE).all()
    others = [i for i in range(BATCH) if i not in struck]
    for part in ("actions", "states", "cost", "status"):
        ours, theirs = getattr(found, part)[others], getattr(sound(name), part)[others]
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    usable(found)
    if fault.when == "at once" and fault.part != "gradient":
        assert not found.actions[struck].any() and not torch.isfinite(found.cost[struck]).any(), "the plan at the start"
    else:
        assert torch.isfinite(found.cost).all() and (found.cost <= sound(name).trace.cost[0]).all()


def passed_over(name: str, fault: Fault) -> None:
    """Check that the faulty candidate is never chosen, and its problem continues; with one candidate: ``marked``."""
    if ROWS[name].candidates == 1:
        marked(name, fault)
        return
    found = planned(ROWS[name], fault, Budget(steps=STEPS))
    assert fault.struck
    assert (found.status == Status.BUDGET).all()
    equal(found, sound(name), OTHERS)
    usable(found)
    fault.gone = True
    problem = faulty(fault)
    states = problem.rollout(found.actions)
    torch.testing.assert_close(found.states, states)
    torch.testing.assert_close(found.cost, problem.cost(states, found.actions))
    assert (found.cost <= sound(name).trace.cost[0]).all()


def raised(name: str, fault: Fault) -> None:
    """Check that the model's own exception reaches the caller."""
    with pytest.raises(Broken):
        planned(ROWS[name], fault, Budget(steps=STEPS))


def torch_raises(name: str, fault: Fault) -> None:
    """Check that autograd finds the fault, and its error reaches the caller."""
    with pytest.raises(RuntimeError, match="invalid gradient"):
        planned(ROWS[name], fault, Budget(steps=STEPS))


def refused(name: str, fault: Fault) -> None:
    """Check that a ``GraspPlannerError`` says what was expected and what the model returned."""
    with pytest.raises(GraspPlannerError, match=r"must return \(.*got \("):
        planned(ROWS[name], fault, Budget(steps=STEPS))


def no_room(name: str, fault: Fault) -> None:
    """Check that a ``GraspPlannerError`` says that not even one row fits into memory, and what to do."""
    with pytest.raises(GraspPlannerError, match=r"out of memory.*one row.*fewer"):
        planned(ROWS[name], fault, Budget(steps=STEPS))


def deadline(name: str, fault: Fault) -> None:
    """Check that no model call starts after a limit in seconds, and that the best plan so far is returned.

    Without such a limit, the plan is as without the fault.
    """
    found = planned(ROWS[name], fault, Budget(steps=STEPS + 1, seconds=SECONDS))
    # The first plan is always scored, and a gradient is always completed.
    whole = fault.part == "gradient" or (fault.part == "forward" and fault.when == "at once")
    assert 1 <= fault.struck <= (HORIZON if whole else 1), "no call follows the first slow call"
    assert (found.status == Status.DEADLINE).all()
    assert found.steps - fault.steps_before in (0, 1), "the slow step may be complete"
    usable(found)
    assert (found.cost <= sound(name).trace.cost[0]).all()
    fault.struck = fault.step = 0
    equal(planned(ROWS[name], fault, Budget(steps=STEPS)), sound(name), list(range(BATCH)))


OUTCOMES = {
    "same": same,
    "rounded": rounded,
    "marked": marked,
    "passed over": passed_over,
    "raised": raised,
    "torch raises": torch_raises,
    "refused": refused,
    "no room": no_room,
    "deadline": deadline,
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("part", "kind", "extent"), cells("forward", "gradient", "objective"))
def test_cell(name: str, part: str, kind: str, extent: str, monkeypatch, figure):
    row = ROWS[name]
    for when in WHENS:
        fault = Fault(kind, part, extent, when, row.candidates)
        monkeypatch.setattr(time, "perf_counter", lambda clock=fault.clock: clock.now)
        # A planner that only samples computes no gradient.
        outcome = table()[part, kind, extent, when] if part != "gradient" or row.differentiates else "same"
        OUTCOMES[outcome](name, fault)
        figure("cells of the fault matrix")
    fault.gone = True
    same(name, fault)  # without the fault, the same planner works again in the same model


CALLS = 4


def driven(fault: Fault) -> tuple[list[torch.Tensor], list, list]:
    """Call ``act`` several times while the fault comes and goes. Return the actions, sources and reasons."""
    one = agent(fault)
    world, actions, sources, reasons = World(one), [], [], []
    for call in range(CALLS):
        fault.step = call
        actions.append(torch.from_numpy(one.act(world.observation(), world.goal)))
        sources.append(one.report.source)
        reasons.append(one.report.reason)
        world.step(actions[-1].numpy())
    # Without the fault, the same agent works again.
    fault.gone = True
    one.act(world.observation(), world.goal)
    assert one.report.sound and set(one.report.source) == {Source.PLANNED}
    return actions, sources, reasons


@functools.cache
def driven_well() -> list[torch.Tensor]:
    return driven(Fault("NaN", "encode", "whole batch", "once", 1, gone=True))[0]


def gone_on(fault: Fault, source: Source) -> None:
    """Check that faulty environments act from ``source`` and report a reason, and that others are unaffected."""
    actions, sources, reasons = driven(fault)
    # All environments are encoded in one tensor, so a wrong tensor affects all environments.
    whole = fault.extent == "whole batch" or fault.kind in ("wrong shape", "wrong dtype", "out of memory")
    struck = range(ENVIRONMENTS) if whole else [VICTIM]
    first = 0 if fault.when == "at once" else LATER
    last = first if fault.when == "once" else CALLS - 1
    if not whole:
        others = [i for i in range(ENVIRONMENTS) if i != VICTIM]
        for ours, theirs in zip(actions, driven_well(), strict=True):
            # Other environments are planned for in calls of fewer rows, on which rounding may depend.
            torch.testing.assert_close(ours[others], theirs[others], rtol=1e-8, atol=1e-8)
    for call in range(CALLS):
        for i in range(ENVIRONMENTS):
            here = i in struck and first <= call <= last
            assert sources[call][i] == (source if here else Source.PLANNED), (call, i)
            assert bool(reasons[call][i]) == here, (call, i)
    assert all(torch.isfinite(one).all() and (one.abs() <= 1).all() for one in actions)
    if source == Source.IDLE:
        assert not torch.stack(actions)[:, VICTIM].any()


def refused_by_the_agent(fault: Fault) -> None:
    """Check that without a plan to follow, a ``GraspPlannerError`` says what is wrong."""
    with pytest.raises(GraspPlannerError, match=r"NaN or infinity|model\.encode\(.*must return|out of memory while"):
        driven(fault)


def raised_by_the_encoder(fault: Fault) -> None:
    """Check that the encoder's exception reaches the caller, and the agent's state is unchanged."""
    one = agent(fault)
    world = World(one)
    fault.step = 0
    if fault.when != "at once":
        world.step(one.act(world.observation(), world.goal))
    fault.step = LATER
    with pytest.raises(Broken):
        one.act(world.observation(), world.goal)
    fault.gone = True
    first = 0 if fault.when == "at once" else LATER
    found = torch.from_numpy(one.act(world.observation(), world.goal))
    assert torch.equal(found, driven_well()[first])


def same_actions(fault: Fault) -> None:
    """Check that the actions are the same as without the fault, to the bit."""
    for ours, theirs in zip(driven(fault)[0], driven_well(), strict=True):
        assert torch.equal(ours, theirs)


ENCODED = {
    "held": functools.partial(gone_on, source=Source.FALLBACK),
    "idle": functools.partial(gone_on, source=Source.IDLE),
    "filled in": functools.partial(gone_on, source=Source.PLANNED),
    "refused": refused_by_the_agent,
    "raised": raised_by_the_encoder,
    "same": same_actions,
}


@pytest.mark.parametrize(("part", "kind", "extent"), cells("encode"))
def test_cell_of_the_encoder(part: str, kind: str, extent: str, figure):
    """Planners do not take part in encoding, so one planner is enough."""
    for when in WHENS:
        ENCODED[table()[part, kind, extent, when]](Fault(kind, part, extent, when, 1))
        figure("cells of the fault matrix")
