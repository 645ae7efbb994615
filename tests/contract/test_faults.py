"""Faults are data: a non-finite value marks only its own problem, and every plan is finite and within bounds."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from contract_rows import Row, every_row, some_rows
from torch import Tensor

import toys
from grasp_planner import Budget, GoalDistance, GraspPlannerError, Markov, Plan, Problem, Progress, Status, plan

STEPS, BATCH, HORIZON, VICTIM = Budget(steps=14), 4, 5, 2


def struck(tensor: Tensor, candidate: bool, problems: tuple[int, ...] = tuple(range(BATCH))) -> Tensor:
    """Return a mask of the victim's rows; with ``candidate``, of only the last row of several."""
    each = tensor.shape[0] // len(problems)
    row = torch.arange(tensor.shape[0])
    mask = torch.tensor(problems)[row // each] == VICTIM
    if candidate:
        mask &= (row % each == each - 1) & (each > 1)
    return mask.reshape(-1, *[1] * (tensor.ndim - 1))


class BadGradient(torch.autograd.Function):
    """The identity, with a faulty gradient in the rows of the mask."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, mask: Tensor, value: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.value = value
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return torch.where(ctx.saved_tensors[0], ctx.value, gradients[0]), None, None


@dataclass
class Faulty:
    """A model with a fault in one problem. The fields say how, with what value, and in which calls."""

    how: str
    value: float = float("nan")
    first: int = 0
    last: float = float("inf")
    calls: int = 0
    inner: Any = None
    context: int = 1
    asked: tuple[int, ...] = tuple(range(BATCH))
    """The problems for which the model is evaluated. Problems that have stopped are not among them."""

    def watch(self, progress: Progress) -> None:
        self.asked = tuple(i for i in range(BATCH) if progress.status[i] not in list(Status)) or self.asked

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        now, self.calls = self.calls, self.calls + 1
        out = self.inner(states, actions)
        if not self.first <= now <= self.last:
            return out
        mask = struck(out, self.how == "candidate", self.asked)
        if self.how == "gradient":
            return BadGradient.apply(out, mask, self.value)
        if self.how == "product":  # the fault affects the gradient, too
            return out * torch.where(mask, self.value, 1.0)
        return torch.where(mask, self.value, out)  # the gradient of a constant: zero


def problem(model: object | None = None, objective: GoalDistance | None = None) -> Problem:
    return toys.problem(BATCH, HORIZON, model or toys.Nonlinear(), objective=objective)


def planned(row: Row, fault: Faulty | None = None, **rest) -> Plan:
    if fault is None:
        return plan(problem(), row.planner, STEPS, seeds=[1, 2, 3, 4], **rest)
    fault.inner, fault.asked = toys.Nonlinear(), tuple(range(BATCH))
    return plan(problem(fault), row.planner, STEPS, seeds=[1, 2, 3, 4], callback=fault.watch, **rest)


OTHERS = [i for i in range(BATCH) if i != VICTIM]
START = toys.cost_by_hand(problem(), torch.zeros(BATCH, HORIZON, 2, dtype=torch.float64))


@functools.cache
def without_fault(row: Row) -> Plan:
    return planned(row)


def unharmed(found: Plan, row: Row, places: list[int]) -> None:
    healthy = without_fault(row)
    # The model is not evaluated for problems that have stopped, and rounding may depend on the number of rows.
    for name in ("actions", "states", "cost", "status"):
        torch.testing.assert_close(
            getattr(found, name)[places], getattr(healthy, name)[places], rtol=1e-7, atol=1e-7, msg=name
        )
    torch.testing.assert_close(found.trace.cost[:, places], healthy.trace.cost[:, places], rtol=1e-7, atol=1e-7)


def usable(found: Plan) -> None:
    assert torch.isfinite(found.actions).all() and (found.actions.abs() <= 1).all()
    assert torch.isfinite(found.warm_start.actions).all()
    for snapshot in found.trace.snapshots:
        assert torch.isfinite(snapshot.actions).all()


def only_the_victim(found: Plan) -> None:
    expected = [Status.NONFINITE if i == VICTIM else Status.BUDGET for i in range(BATCH)]
    assert found.status.tolist() == expected


INF = float("inf")


@every_row
@pytest.mark.parametrize(("how", "value"), [("product", INF), ("constant", float("nan")), ("product", -INF)])
def test_from_the_first_call_on(row: Row, how, value):
    found = planned(row, Faulty(how, value))
    only_the_victim(found)
    unharmed(found, row, OTHERS)
    usable(found)
    assert not torch.isfinite(found.cost[VICTIM])
    assert not found.actions[VICTIM].any(), "the plan it was started from"


@every_row
@pytest.mark.parametrize(("how", "value"), [("product", float("nan")), ("constant", -INF), ("product", INF)])
@pytest.mark.parametrize("first", [HORIZON, HORIZON + 9])
def test_from_a_later_call_on(row: Row, how, value, first):
    found = planned(row, Faulty(how, value, first=first))
    only_the_victim(found)
    unharmed(found, row, OTHERS)
    usable(found)
    assert found.cost[VICTIM] <= START[VICTIM], "the best plan seen before"
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem(), found.actions))


@every_row
@pytest.mark.parametrize(("first", "value"), [(0, float("nan")), (0, INF), (HORIZON + 9, -INF)])
def test_in_the_gradient_alone(row: Row, value, first):
    found = planned(row, Faulty("gradient", value, first=first))
    unharmed(found, row, OTHERS)
    usable(found)
    assert found.cost[VICTIM] <= START[VICTIM]
    if row.differentiates:
        only_the_victim(found)
    else:
        unharmed(found, row, [VICTIM])


@every_row
@pytest.mark.parametrize("value", [float("nan"), -INF])
def test_in_one_row_of_a_problem(row: Row, value):
    """A fault in one of several candidates does not stop the others. A fault in a time step spoils the plan."""
    found = planned(row, Faulty("candidate", value, first=HORIZON))
    unharmed(found, row, OTHERS)
    usable(found)
    assert found.cost[VICTIM] <= START[VICTIM]
    assert found.status[VICTIM] == (Status.NONFINITE if row.lifts_one_plan else Status.BUDGET)
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem(), found.actions))


@every_row
@pytest.mark.parametrize(("how", "call"), [("product", HORIZON), ("constant", HORIZON + 11), ("gradient", HORIZON + 2)])
def test_once(row: Row, how, call):
    """A temporary fault never affects other problems, wherever it occurs."""
    found = planned(row, Faulty(how, first=call, last=call))
    unharmed(found, row, OTHERS)
    usable(found)
    assert found.cost[VICTIM] <= START[VICTIM]
    assert found.status[VICTIM] in (Status.BUDGET, Status.NONFINITE)
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem(), found.actions))


@dataclass(frozen=True)
class BadObjective:
    """The goal distance, with a fault for the victim in one of the two cost terms."""

    part: str
    value: float
    inner: GoalDistance = GoalDistance(stage_weight=0.1)

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:
        cost = self.inner.terminal(states, goal)
        return torch.where(struck(cost, False), self.value, cost) if self.part == "terminal" else cost

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        cost = self.inner.stage(states, actions, goal)
        return torch.where(struck(cost, False), self.value, cost) if self.part == "stage" else cost


@functools.cache
def with_sound_objective(row: Row) -> Plan:
    return plan(problem(objective=BadObjective("none", 0.0)), row.planner, STEPS, seeds=[1, 2, 3, 4])


@every_row
@pytest.mark.parametrize(("part", "value"), [("terminal", -INF), ("terminal", float("nan")), ("stage", INF)])
def test_in_the_objective(row: Row, part, value):
    bad = problem(objective=BadObjective(part, value))
    if not row.any_objective:
        with pytest.raises(GraspPlannerError, match="GoalDistance"):
            plan(bad, row.planner, STEPS)
        return
    found = plan(bad, row.planner, STEPS, seeds=[1, 2, 3, 4])
    healthy = with_sound_objective(row)
    only_the_victim(found)
    usable(found)
    torch.testing.assert_close(found.actions[OTHERS], healthy.actions[OTHERS], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.cost[OTHERS], healthy.cost[OTHERS], rtol=1e-7, atol=1e-7)


@every_row
def test_a_whole_batch_at_once(row: Row):
    everyone = plan(problem(Markov(lambda s, a: s * float("nan"))), row.planner, STEPS)
    assert everyone.status.tolist() == [Status.NONFINITE] * BATCH
    assert everyone.steps == 0 and torch.isfinite(everyone.actions).all()


@every_row
def test_when_the_fault_is_gone_the_same_planner_works_again(row: Row):
    healthy = planned(row)
    planned(row, Faulty("product"))
    assert toys.same(planned(row), healthy)


@every_row
def test_after_a_fault_the_actions_are_a_start_for_the_next_plan(row: Row):
    faulty = planned(row, Faulty("product", first=HORIZON + 3))
    again = planned(row, warm_start=faulty.warm_start.shifted(0))
    assert again.status.tolist() == [Status.BUDGET] * BATCH
    usable(again)


@some_rows
@pytest.mark.parametrize("call", [0, HORIZON + 1])
def test_an_exception_of_the_model_passes_through(row: Row, call):
    class Broken(RuntimeError):
        pass

    calls = []

    def step(state, action):
        calls.append(1)
        if len(calls) > call:
            raise Broken("no answer")
        return state + 0.1 * action.sum(-1, keepdim=True)

    with pytest.raises(Broken, match="no answer"):
        plan(problem(Markov(step)), row.planner, STEPS)


@some_rows
@pytest.mark.parametrize("call", [0, HORIZON + 1])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: out[:, :-1], r"must return \(.*, 3\)"),
        (lambda out: out[:-1], r"must return"),
        (lambda out: out.float(), "same dtype"),
        (lambda out: out.tolist(), "must return a tensor, got list"),
        (lambda out: (out, out), "must return a tensor, got tuple"),
    ],
    ids=["size", "rows", "dtype", "list", "tuple"],
)
def test_a_wrong_answer_of_the_model_is_named(row: Row, call, spoil, message):
    calls = []

    def step(state, action):
        calls.append(1)
        out = state + 0.1 * action.sum(-1, keepdim=True)
        return spoil(out) if len(calls) > call else out

    with pytest.raises(GraspPlannerError, match=message):
        plan(problem(Markov(step)), row.planner, STEPS)
