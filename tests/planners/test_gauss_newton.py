"""GaussNewton: its linearisation against autograd, its step against closed forms, and what an iteration costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import (
    GD,
    Budget,
    Constrained,
    GaussNewton,
    GoalDistance,
    GraspPlannerError,
    Margin,
    Markov,
    MultiStart,
    Problem,
    action_rate,
    always,
    eventually,
    inside_box,
    plan,
)
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import score
from grasp_planner.planners.damped_steps import damped_step, with_secant
from grasp_planner.planners.least_squares import LeastSquares, all_residuals, exact, residuals, sketched
from grasp_planner.planners.penalty_rows import penalty_rows

WEIGHTS = (1.0, 0.25, 2.0)


def at_a_plan(context: int = 1, horizon: int = 5, **objective):
    """Return normalised problems, random actions within the bounds, and the rollout of these actions."""
    model = toys.Nonlinear() if context == 1 else toys.Remembering(context)
    problem = toys.problem(3, horizon, model, objective=GoalDistance(weights=WEIGHTS, **objective)).normalised()
    actions = 0.4 * toys.fixed(3, horizon, 2, seed=8)
    return problem, actions, problem.rollout(actions)


def by_autograd(problem, actions, row):
    """Return the Jacobian of the residuals of one problem, through the whole rollout."""

    def of(one):
        many = actions.clone()
        return residuals(problem, problem.objective, problem.rollout(torch.cat([many[:row], one, many[row + 1 :]])))[
            row
        ]

    jacobian = torch.autograd.functional.jacobian(of, actions[row : row + 1])
    return jacobian.reshape(-1, actions[0].numel())


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("stage_weight", [0.0, 0.3])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_the_exact_jacobian_is_that_of_the_rollout(context, stage_weight, horizon):
    problem, actions, states = at_a_plan(context, horizon, stage_weight=stage_weight)
    found = exact(problem, problem.objective, states, actions)
    for row in range(3):
        expected = by_autograd(problem, actions, row)
        kept = found.jacobian[row][-expected.shape[0] :]
        torch.testing.assert_close(kept, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            found.residual[row], residuals(problem, problem.objective, states)[row].flatten(), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("stage_weight", [0.0, 0.3])
def test_a_sketch_holds_products_of_the_exact_jacobian(stage_weight):
    problem, actions, states = at_a_plan(horizon=4, stage_weight=stage_weight)
    whole = exact(problem, problem.objective, states, actions)
    part = sketched(problem, problem.objective, actions, 2, Noise.of([1, 2, 3], 3))
    v = part.directions
    torch.testing.assert_close(v.mT @ v, torch.eye(2, dtype=v.dtype).expand(3, 2, 2), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(part.jacobian, v.mT @ whole.jacobian, rtol=1e-9, atol=1e-12)
    # The first direction is the residual's own, so that the sketch keeps its whole length.
    torch.testing.assert_close(part.residual[:, 0].abs(), whole.residual.norm(dim=1), rtol=1e-9, atol=0)
    torch.testing.assert_close(part.residual[:, 1], torch.zeros(3, dtype=v.dtype), rtol=0, atol=1e-9)


@pytest.mark.parametrize("stage_weight", [0.0, 0.3])
def test_the_residuals_are_the_cost_without_effort_and_without_the_start(stage_weight):
    problem, actions, states = at_a_plan(stage_weight=stage_weight)
    start = stage_weight * problem.objective.terminal(problem.start, problem.goal)
    squares = residuals(problem, problem.objective, states).square().sum((1, 2))
    torch.testing.assert_close(squares + start, problem.cost(states, actions), rtol=1e-9, atol=0)


@pytest.mark.parametrize("context", [1, 3])
def test_the_exact_jacobian_has_the_rows_of_the_penalty(context):
    plain, actions, states = at_a_plan(context, stage_weight=0.3)
    inside = inside_box(lambda states: states, (-0.1, -0.2, -0.3), (0.1, 0.2, 0.3))
    event = always(inside, first=1) & always(action_rate(0.1)) & eventually(~inside.tightened(-5.0))
    goal, problem = plain.objective, plain.under(Constrained(plain.objective, event, weight=3.0, smoothing=0.5))
    found = exact(problem, goal, states, actions)
    assert found.residual.shape == (3, 5 * 3 + 5 + 6 + 1)
    for row in range(3):

        def of(one, row=row):
            many = torch.cat([actions[:row], one, actions[row + 1 :]])
            return all_residuals(problem, goal, problem.rollout(many), many)[row]

        expected = torch.autograd.functional.jacobian(of, actions[row : row + 1])
        torch.testing.assert_close(found.jacobian[row], expected.flatten(1), rtol=1e-9, atol=1e-12)
    assert (found.jacobian[:, -7:].abs().sum(2) > 0).any(0).sum() > 3
    start, barred = 0.3 * goal.terminal(problem.start, problem.goal), problem.objective.violation_cost
    torch.testing.assert_close(found.residual.square().sum(1) + start + barred, problem.cost(states, actions))


def test_an_inactive_residual_has_no_slope_whatever_its_batch_mates_are():
    """The derivative of the square root is infinite at 0. The first problem satisfies the event there."""
    margin = Margin(lambda states, actions: states[..., 1] + states[..., 0].clamp(min=0.0).sqrt())
    objective = Constrained(GoalDistance(), always(margin, first=1), clearance=0.0)
    problem = toys.problem(2, 1, objective=objective, scale=torch.ones(3).double()).normalised()
    states, actions = torch.tensor([[[-1.0, 1.0, 0.0]], [[1.0, -3.0, 0.0]]]).double(), torch.zeros(2, 1, 2).double()
    rows = penalty_rows(problem, states, actions)
    assert rows.residual[0] == 0 and not rows.by_state[0].any() and not rows.by_action.any()
    expected = -(10.0**0.5) * torch.tensor([0.5, 1.0, 0.0]).double()
    torch.testing.assert_close(rows.by_state[1, 0, 0], expected)


@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 6),
    effort=st.sampled_from([0.0, 0.1, 5.0]),
    damping=st.sampled_from([1e-6, 0.1, 10.0]),
)
@settings(max_examples=40)
def test_a_step_solves_the_damped_normal_equations(seed, rows, effort, damping):
    problem, actions, _ = at_a_plan(horizon=2)
    wide = problem.__class__.between(
        toys.linear(), problem.start, problem.goal, 2, -1e9, 1e9, action_size=2, scale=torch.ones(3).double()
    ).normalised()
    jacobian, residual = toys.fixed(3, rows, 4, seed=seed), toys.fixed(3, rows, seed=seed + 1)
    found = damped_step(wide, LeastSquares(residual, jacobian), effort, actions, torch.full((3,), damping).double())
    for i in range(3):
        ridge = damping * jacobian[i].square().sum() / rows
        normal = jacobian[i].mT @ jacobian[i] + (ridge + effort) * torch.eye(4).double()
        d = torch.linalg.solve(normal, -(jacobian[i].mT @ residual[i] + effort * actions[i].flatten()))
        torch.testing.assert_close((found - actions)[i].flatten(), d, rtol=1e-5, atol=1e-6)


def test_actions_on_a_bound_are_made_up_for_by_the_others():
    """Two pushes must add up to 1.5. The first may be 0.5 at most, so the second must be 1: clamping falls short."""
    problem = Problem.between(
        Markov(lambda s, a: s + a[:, :1] * torch.tensor([[1.0]], dtype=s.dtype) + a[:, 1:]),
        torch.zeros(1, 1).double(),
        torch.full((1, 1), 1.5).double(),
        1,
        low=torch.tensor([-5.0, -5.0]).double(),
        high=torch.tensor([0.5, 5.0]).double(),
    )
    found = plan(problem, GaussNewton(damping=1e-6, rollouts=1), Budget(steps=3))
    torch.testing.assert_close(found.actions.flatten(), torch.tensor([0.5, 1.0]).double(), rtol=1e-4, atol=0)


def test_a_linear_problem_takes_one_iteration_and_agrees_with_the_pseudo_inverse():
    problem = toys.problem(4, 6, toys.linear(), bound=100.0)
    found = plan(problem, GaussNewton(damping=1e-8), Budget(steps=2))
    normal = problem.normalised()
    zero = torch.zeros(4, 6, 2).double()
    cost = exact(normal, normal.objective, normal.rollout(zero), zero)
    least = -(torch.linalg.pinv(cost.jacobian) @ cost.residual[:, :, None])[:, :, 0]
    # Two steps: the first rollout is that of zero actions, and the second linearises; the loop scores the proposal.
    torch.testing.assert_close(found.actions.flatten(1), least, rtol=1e-5, atol=1e-6)
    assert (found.cost < 1e-12 * found.trace.cost[0]).all()


def test_a_linear_quadratic_problem_is_solved_like_by_descent():
    objective = GoalDistance(weights=WEIGHTS, stage_weight=0.2, effort=0.05)
    problem = toys.problem(3, 5, toys.linear(), bound=10.0, objective=objective)
    second = plan(problem, GaussNewton(), Budget(steps=40))
    first = plan(problem, GD(lr=0.05), Budget(steps=3000))
    torch.testing.assert_close(second.cost, first.cost, rtol=1e-6, atol=0)


def test_a_corrected_jacobian_predicts_the_rollout_that_was_made():
    problem, actions, states = at_a_plan(stage_weight=0.3)
    move = 0.2 * toys.fixed(3, 5, 2, seed=9)
    there = problem.rollout(actions + move)
    accepted = torch.tensor([True, False, True])
    before = exact(problem, problem.objective, states, actions)
    after = with_secant(problem, problem.objective, before, score(problem, actions + move), move, accepted)
    change = (after.jacobian @ move.flatten(1)[:, :, None])[:, :, 0]
    seen = residuals(problem, problem.objective, there).flatten(1)
    torch.testing.assert_close(before.residual + change, seen, rtol=1e-9, atol=1e-12)
    assert torch.equal(after.residual[accepted], seen[accepted])
    assert torch.equal(after.residual[~accepted], before.residual[~accepted])
    # Across the move, J stays as it was.
    across = torch.tensor([[1.0, 0.0] * 5]).double().expand(3, -1)
    along = move.flatten(1)
    across = across - (across * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True) * along
    for jacobian in (before.jacobian, after.jacobian):
        torch.testing.assert_close(
            (jacobian @ across[:, :, None])[:, :, 0],
            (before.jacobian @ across[:, :, None])[:, :, 0],
            rtol=1e-9,
            atol=1e-12,
        )


def test_a_move_of_rounding_size_does_not_correct_the_jacobian():
    problem, actions, states = at_a_plan()
    move = torch.full_like(actions, 1e-15)
    before = exact(problem, problem.objective, states, actions)
    after = with_secant(problem, problem.objective, before, score(problem, actions + move), move, torch.ones(3).bool())
    assert torch.equal(after.jacobian, before.jacobian)


def test_a_correction_that_overflows_is_not_made():
    """The cost falls from a huge one by a tiny move, so that the correction of the first problem is infinite."""
    problem, actions, states = at_a_plan()
    before = exact(problem, problem.objective, states, actions)
    huge = torch.tensor([1e300, 1.0, 1.0]).double()[:, None]
    before = before._replace(residual=before.residual * huge)
    move = 1e-3 * toys.fixed(3, 5, 2, seed=9) * torch.tensor([1e-157, 1.0, 1.0]).double()[:, None, None]
    after = with_secant(problem, problem.objective, before, score(problem, actions + move), move, torch.ones(3).bool())
    assert torch.isfinite(after.jacobian).all()
    same = [torch.equal(one, other) for one, other in zip(after.jacobian, before.jacobian)]
    assert same == [True, False, False], "only the correction that overflows is left out"


def test_damping_falls_after_a_lower_cost_and_rises_after_a_higher_one():
    problem, actions, _ = at_a_plan()
    planner = GaussNewton(damping=0.5, accepted=0.25, rejected=3.0, rollouts=1)
    state = planner.init(problem, actions, Noise.of(0, 3))
    state, scored = planner.step(problem, state, Noise.of(0, 3))
    assert torch.equal(scored.actions, actions) and torch.equal(state.damping, torch.full((3,), 0.5).double())
    state, nothing = planner.step(problem, state, Noise.of(0, 3))
    assert nothing is None and state.left == 1
    stays = torch.tensor([True, False, False])  # the cost of an unchanged plan does not fall
    worse = state._replace(proposal=torch.where(stays[:, None, None], actions, state.proposal))
    after, scored = planner.step(problem, worse, Noise.of(0, 3))
    assert (scored.cost < state.accepted.cost).tolist() == [False, True, True]
    torch.testing.assert_close(after.damping, torch.tensor([1.5, 0.125, 0.125]).double())
    assert torch.equal(after.accepted.cost, torch.minimum(scored.cost, state.accepted.cost))


@pytest.mark.parametrize("rollouts", [1, 3])
def test_a_linearisation_is_one_call_for_all_time_steps(rollouts):
    problem = toys.problem(2, 5)
    model = toys.Counted(problem.dynamics)
    plan(problem.through(model), MultiStart(GaussNewton(rollouts=rollouts), starts=3), Budget(steps=2 + rollouts))
    first, start, linearised = [2] * 5, [6] * 5, [2 * 3 * 5]
    expected = [*first, *start, *linearised, *([6] * 5) * rollouts]
    assert model.rows[: len(expected)] == expected
    assert model.rows[len(expected) :] == [2] * 5  # the loop scores the plan of the best start


def test_a_wide_latent_is_sketched_with_as_many_products_as_asked_for():
    """40 coordinates of which 8 products are taken: far from exact, but the cost falls at every problem."""
    wide = toys.problem(3, 6, toys.Nonlinear(latent=40, width=16), latent=40)
    found = plan(wide, GaussNewton(products=8), Budget(steps=41), seeds=1)
    best = plan(wide, GaussNewton(products=40), Budget(steps=41), seeds=1)
    fall, most = (1 - each.cost / each.trace.cost[0] for each in (found, best))
    assert (fall > 0.5 * most).all() and (most > 0).all()


def test_other_costs_than_sums_of_squares_are_refused_with_what_to_use():
    class Reward:
        def terminal(self, states, goal):
            return (states - goal).abs().sum(-1)

        def stage(self, states, actions, goal):
            return states.new_zeros(states.shape[:-1])

    problem = dataclasses.replace(toys.problem(1, 3), objective=Reward())
    with pytest.raises(GraspPlannerError, match=r"GaussNewton needs .* GoalDistance, got Reward: use GD\(\)"):
        plan(problem, GaussNewton(), Budget(steps=1))


def test_memory_beyond_the_limit_is_refused_before_anything_is_computed():
    problem = toys.problem(2, 10)
    model = toys.Counted(problem.dynamics)
    with pytest.raises(GraspPlannerError, match="memory_limit is 100: plan for fewer problems"):
        plan(problem.through(model), GaussNewton(memory_limit=100), Budget(steps=1))
    assert model.rows == [2] * 10  # the scoring of the first plan
    # The limit bounds what an exact linearisation holds: A, B, the rows of the recursion, and J.
    needed = 2 * 8 * (3 * (20 + 3) + 10 * 3 * (3 + 2 + 3))
    plan(problem, GaussNewton(memory_limit=needed), Budget(steps=2))
    with pytest.raises(GraspPlannerError, match=f"needs {needed:,} bytes"):
        plan(problem, GaussNewton(memory_limit=needed - 1), Budget(steps=2))


def test_accepted_is_a_factor_of_at_most_one():
    with pytest.raises(GraspPlannerError, match="GaussNewton.accepted must be at most 1, got 1.5"):
        GaussNewton(accepted=1.5)
