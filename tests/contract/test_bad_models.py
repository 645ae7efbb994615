"""Models that a planner cannot use are refused with one clear error."""

from __future__ import annotations

import pytest
import torch
from contract_rows import Row, every_row, some_rows

import toys
from grasp_planner import Budget, GoalDistance, GraspPlannerError, Markov, plan


def leaves_torch(state, action):
    moved = state.detach().numpy() + 0.1 * action.detach().numpy().sum(-1, keepdims=True)
    return torch.from_numpy(moved)


@torch.no_grad()
def under_no_grad(state, action):
    return state + 0.1 * action.sum(-1, keepdim=True)


def detaches(state, action):
    return (state + 0.1 * action.sum(-1, keepdim=True)).detach()


def deaf(state, action):
    return 0.9 * state.detach()


@every_row
@pytest.mark.parametrize(
    ("model", "effort"), [(leaves_torch, 0.1), (leaves_torch, 0.0), (under_no_grad, 0.1), (detaches, 0.0), (deaf, 0.1)]
)
def test_a_model_without_gradients_to_actions(row: Row, model, effort):
    """The effort term has a gradient, too, which must not hide that the model has no gradient."""
    problem = toys.problem(2, 3, Markov(model), objective=GoalDistance(effort=effort))
    if row.differentiates:
        with pytest.raises(GraspPlannerError, match="does not depend on the actions.*no_grad.*CEM"):
            plan(problem, row.planner, Budget(steps=2))
    else:
        assert torch.isfinite(plan(problem, row.planner, Budget(steps=2)).cost).all()


@every_row
def test_a_model_that_ignores_its_state(row: Row):
    """The model has no gradient to its state, and a planner can use it."""
    push = toys.fixed(2, 3, seed=1)
    found = plan(toys.problem(2, 3, Markov(lambda state, action: action @ push)), row.planner, Budget(steps=5), seeds=1)
    assert (found.cost < found.trace.cost[0]).any()


@some_rows
@pytest.mark.parametrize("argument", ["problem", "planner", "planner class", "budget"])
def test_arguments_of_the_wrong_kind(row: Row, argument):
    arguments = {"problem": toys.problem(2, 3), "planner": row.planner, "budget": Budget(steps=1)}
    arguments[argument.split()[0]] = {"planner class": type(row.planner)}.get(argument, 100)
    with pytest.raises(GraspPlannerError, match=f"{argument.split()[0]} must be"):
        plan(arguments["problem"], arguments["planner"], arguments["budget"])
