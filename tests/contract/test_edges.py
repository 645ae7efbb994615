"""Edge cases: axes of length one, contexts, dtypes, and a start at the goal."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contract_rows import Row, every_row

import toys
from grasp_planner import Budget, GoalDistance, Markov, Problem, Status, plan

STEPS = Budget(steps=7)


@every_row
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize(
    ("batch", "horizon", "dtype"),
    [(1, 1, torch.float64), (7, 1, torch.float32), (1, 7, torch.float64), (2, 2, torch.float32)],
)
def test_small_shapes(row: Row, batch, horizon, dtype, context):
    model = toys.Nonlinear().to(dtype) if context == 1 else toys.Remembering(context)
    problem = toys.problem(batch, horizon, model, dtype=dtype)
    found = plan(problem, row.planner, STEPS, seeds=3)
    assert found.actions.shape == (batch, horizon, 2) and found.actions.dtype == dtype
    assert found.states.shape == (batch, horizon, 3) and found.states.dtype == dtype
    assert found.cost.shape == (batch,) and found.cost.dtype == dtype
    assert found.status.tolist() == [Status.BUDGET] * batch and found.status.dtype == torch.int64
    assert not (found.actions.requires_grad or found.states.requires_grad or found.cost.requires_grad)
    assert (found.cost <= found.trace.cost[0]).all()


@every_row
@pytest.mark.parametrize(("latent", "action"), [(1, 1), (5, 1)])
def test_one_number_latents_and_actions(row: Row, latent, action):
    problem = toys.problem(2, 3, toys.linear(latent, action), latent=latent, action=action)
    found = plan(problem, row.planner, STEPS, seeds=3)
    assert found.actions.shape == (2, 3, action)
    assert (found.cost < found.trace.cost[0]).any()


def still(batch: int, at_goal: list[int]) -> Problem:
    """Return a model that moves only by its action, and problems of which some start at the goal."""
    start, goal = toys.fixed(batch, 2, seed=1), toys.fixed(batch, 2, seed=2)
    goal[at_goal] = start[at_goal]
    bound = torch.ones(2, dtype=torch.float64)
    return Problem.between(Markov(lambda state, action: state + 0.1 * action), start, goal, 6, -bound, bound)


@every_row
def test_start_at_the_goal_is_converged_before_the_first_step(row: Row):
    found = plan(still(2, [0, 1]), row.planner, STEPS)
    assert found.status.tolist() == [Status.CONVERGED] * 2
    assert found.steps == 0 and found.transitions == 6 and found.calls == 6
    assert not found.actions.any() and not found.cost.any()


@every_row
def test_start_at_the_goal_beside_others_that_are_not(row: Row):
    found = plan(still(3, [1]), row.planner, STEPS)
    assert found.status.tolist() == [Status.BUDGET, Status.CONVERGED, Status.BUDGET]
    assert not found.actions[1].any() and found.cost[1] == 0
    assert found.steps == 7


@every_row
def test_start_and_goal_at_the_origin(row: Row):
    """The scale cannot be derived from a distance or a size, since both are 0."""
    nothing, bound = torch.zeros(2, 3), torch.ones(2)
    problem = Problem.between(
        Markov(lambda s, a: s + 0.1 * a.sum(-1, keepdim=True) + 0.05), nothing, nothing, 4, -bound, bound
    )
    found = plan(problem, row.planner, STEPS, seeds=1)
    assert torch.isfinite(found.cost).all() and torch.isfinite(found.actions).all()
    assert (found.cost <= found.trace.cost[0]).all()


def middle(costs: torch.Tensor) -> float:
    """Return the mean of the two middle costs, so that rounding does not decide which problems are below."""
    count = len(costs)
    return float(costs.sort().values[count // 2 - 1 : count // 2 + 1].mean())


@every_row
def test_a_tolerance_ends_each_problem_by_itself(row: Row):
    problem = toys.problem(6, 4)
    bests = plan(problem, row.planner, Budget(steps=40), seeds=1)
    threshold = middle(bests.trace.cost[-1])
    planner = dataclasses.replace(row.planner, tolerance=threshold)
    found = plan(problem, planner, Budget(steps=40), seeds=1)
    reached = bests.trace.cost[-1] <= threshold
    assert 0 < int(reached.sum()) < 6
    assert (found.status[reached] == Status.CONVERGED).all()
    assert (found.cost[reached] <= threshold).all()
    # A converged problem keeps the plan that converged: the first one at or below the tolerance.
    for i in reached.nonzero().flatten().tolist():
        at = int((bests.trace.cost[:, i] <= threshold).nonzero()[0])
        torch.testing.assert_close(found.cost[i], bests.trace.cost[at, i], rtol=1e-7, atol=0)


@every_row
def test_a_solved_problem_costs_no_more_and_the_others_do_not_notice(row: Row):
    problem = toys.problem(6, 4)
    every, fewer = toys.Counted(problem.dynamics), toys.Counted(problem.dynamics)
    bests = plan(problem.through(every), row.planner, Budget(steps=40), seeds=1)
    planner = dataclasses.replace(row.planner, tolerance=middle(bests.trace.cost[-1]))
    found = plan(problem.through(fewer), planner, Budget(steps=40), seeds=1)
    running = found.status != Status.CONVERGED
    assert 0 < int(running.sum()) < 6
    # The model is still evaluated for a problem in the call that solves the problem.
    assert fewer.rows[-1] in [every.rows[-1] * count // 6 for count in range(int(running.sum()), 6)]
    torch.testing.assert_close(found.cost[running], bests.cost[running], rtol=1e-7, atol=0)
    torch.testing.assert_close(found.actions[running], bests.actions[running], rtol=1e-7, atol=1e-7)
    again = plan(problem, planner, Budget(steps=0), seeds=1, warm_start=found.warm_start)
    solved = again.status == Status.CONVERGED
    assert solved[~running].all(), "what has stopped stays so"
    assert not solved[running].any()
    assert found.transitions == bests.transitions


@every_row
def test_zero_steps_is_the_start_scored_and_finished(row: Row):
    problem = toys.problem(2, 3)
    found = plan(problem, row.planner, Budget(steps=0), seeds=1)
    assert found.steps == 0 and (found.status == Status.BUDGET).all()
    start = toys.cost_by_hand(problem, torch.zeros(2, 3, 2, dtype=torch.float64))
    assert (found.cost <= start * (1 + 1e-12)).all()


@every_row
def test_a_long_horizon(row: Row):
    problem = toys.problem(1, 120, toys.linear(), objective=GoalDistance(effort=1e-4))
    found = plan(problem, row.planner, Budget(steps=2), seeds=1)
    assert found.actions.shape == (1, 120, 2) and torch.isfinite(found.cost).all()
