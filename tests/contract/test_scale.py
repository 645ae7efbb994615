"""Scale: the actions do not depend on the units of the latent."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import Row, every_row

import toys
from grasp_planner import Budget, GoalDistance, Problem, plan

STEPS = Budget(steps=12)


class InUnits:
    """A model with other units of its latent: F'(u s, a) = u F(s, a)."""

    def __init__(self, model, unit) -> None:
        self.context, self.model, self.unit = model.context, model, unit

    def __call__(self, states, actions):
        return self.unit * self.model(states / self.unit, actions)


def in_units(problem: Problem, unit: float | torch.Tensor, scale: torch.Tensor | None) -> Problem:
    return dataclasses.replace(
        problem,
        dynamics=InUnits(problem.dynamics, unit),
        states=problem.states * unit,
        goal=problem.goal * unit,
        scale=scale,
    )


OBJECTIVE = GoalDistance(weights=(1.0, 0.5, 2.0), stage_weight=0.1, effort=0.01)


@every_row
@pytest.mark.parametrize(("factor", "dtype"), [(100.0, torch.float64), (0.01, torch.float32)])
def test_all_coordinates_times_a_factor(row: Row, factor, dtype):
    problem = toys.problem(4, 5, objective=OBJECTIVE, dtype=dtype)
    first = plan(problem, row.planner, STEPS, seeds=4)
    other = plan(in_units(problem, factor, None), row.planner, STEPS, seeds=4)
    tolerance = 1e-7 if dtype == torch.float64 else 5e-3
    torch.testing.assert_close(other.actions, first.actions, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(other.cost, first.cost, rtol=tolerance, atol=tolerance)


@every_row
def test_each_coordinate_in_units_of_its_own_with_a_scale_given(row: Row):
    problem = toys.problem(4, 5, toys.Remembering(3), objective=OBJECTIVE)
    unit = torch.tensor([100.0, 0.01, 3.0], dtype=torch.float64)
    scale = torch.tensor([0.7, 1.3, 2.0], dtype=torch.float64)
    first = plan(dataclasses.replace(problem, scale=scale), row.planner, STEPS, seeds=4)
    other = plan(in_units(problem, unit, scale * unit), row.planner, STEPS, seeds=4)
    torch.testing.assert_close(other.actions, first.actions, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(other.cost, first.cost, rtol=1e-7, atol=1e-7)
