"""Guards that the fault matrix does not reach."""

from __future__ import annotations

import pytest
import torch
from faults import BATCH, HORIZON, VICTIM, Fault, FaultyObjective, Model

import toys
from grasp_planner import GD, Budget, Status, plan
from grasp_planner.planning.candidates import leading


def test_the_leading_candidate_is_one_without_a_fault():
    """The leader's actions where they are finite, otherwise those of the first candidate with finite actions."""
    actions = toys.fixed(6, 2, 1, seed=0)
    actions[2] = torch.nan
    actions[[3, 5]] = torch.inf
    found = leading(actions, torch.tensor([2, 0]))
    assert torch.equal(found, actions[[0, 4]])
    assert not torch.isfinite(leading(actions * torch.nan, torch.tensor([0, 1]))).any(), "all candidates are faulty"


@pytest.mark.parametrize("kind", ["NaN", "+inf", "-inf", "overflow"])
def test_a_fault_is_marked_in_the_step_that_it_happens_in(kind: str):
    """Planning is stopped right after the faulty gradient, before any rollout can show the fault."""
    fault = Fault(kind, "gradient", "one time step", "at once", 1)
    problem = toys.problem(BATCH, HORIZON, Model(fault), objective=FaultyObjective(fault))
    found = plan(problem, GD(), Budget(steps=9), callback=lambda progress: progress.step == 1)
    expected = [Status.NONFINITE if i == VICTIM else Status.INTERRUPTED for i in range(BATCH)]
    assert found.status.tolist() == expected
