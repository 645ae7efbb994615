"""An objective may reward: a negative cost is no reason to stop."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from contract_rows import ROWS, Row

import toys
from grasp_planner import Budget, Status, plan


@dataclass(frozen=True)
class Rewarded:
    def terminal(self, states, goal):
        return (states - goal).square().sum(-1) - 1000.0

    def stage(self, states, actions, goal):
        return torch.zeros_like(actions[..., 0])


@pytest.mark.parametrize("row", [row for row in ROWS if row.any_objective], ids=lambda row: f"{row.name}-{row.variant}")
def test_negative_costs_are_planned_on(row: Row):
    problem = toys.problem(2, 4, objective=Rewarded())
    found = plan(problem, row.planner, Budget(steps=12), seeds=1)
    assert found.steps == 12 and (found.status == Status.BUDGET).all()
    assert (found.cost < found.trace.cost[0]).all() and (found.cost < 0).all()
