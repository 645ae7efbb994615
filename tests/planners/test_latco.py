"""LatCo: defects, multipliers, and Gauss-Newton on states and actions."""

from __future__ import annotations

import dataclasses

import lq
import pytest
import torch

import toys
from grasp_planner import Budget, GoalDistance, GraspPlannerError, LatCo, Markov, Problem, Status, plan
from grasp_planner.core.noise import Noise
from grasp_planner.planners.collocation import MOST_VARIABLES, _linearised, gauss_newton_step
from grasp_planner.planners.latco import defects


def states_of(problem, planner, steps, **rest):
    seen = []
    plan(problem, planner, Budget(steps=steps), seeds=1, callback=lambda p: seen.append(p.state), **rest)
    return seen[1:]


def squared(problem, state) -> torch.Tensor:
    """Compute squared defects by hand, in units of the scale, for a problem in the caller's units."""
    visited = torch.cat([problem.start[:, None], state.states * problem.unit[:, None]], dim=1)
    out = []
    for t in range(problem.horizon):
        window = torch.cat([problem.states[:, :-1], visited], dim=1)[:, t : t + problem.context]
        taken = torch.cat([problem.past_actions, state.actions], dim=1)[:, t : t + problem.context]
        out.append(((problem.dynamics(window, taken) - visited[:, t + 1]) / problem.unit).square().sum(-1))
    return torch.stack(out, dim=1)


METHODS = {
    "first order": (LatCo(dual_rate=0.1), 480),
    "gauss-newton": (LatCo(method="gauss_newton", damping=0.1, score_every=1), 120),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("context", [1, 3])
def test_defects_go_to_zero(method, context):
    planner, steps = METHODS[method]
    problem = toys.problem(3, 6, toys.Nonlinear() if context == 1 else toys.Remembering(3))
    seen = states_of(problem, planner, steps)
    first, last = squared(problem, seen[0]), squared(problem, seen[-1])
    assert first.detach().amax(1).min() > 1e-2
    assert last.max() < 3 * planner.threshold
    # The virtual last state is then the true last state, so the cost of the lifted path is that of its rollout.
    rolled_out = toys.rollout_by_hand(problem, seen[-1].actions)
    assert (rolled_out / problem.unit[:, None] - seen[-1].states).abs().max() < 0.1


def test_gauss_newton_solves_a_problem_whose_optimum_lies_on_the_bounds():
    """If the actions were clamped after the step, the states would be unreachable."""
    start = torch.zeros(2, 1, dtype=torch.float64)
    bound = torch.tensor([0.5], dtype=torch.float64)
    objective = GoalDistance(effort=0.01)
    goal = torch.tensor([[1.0], [-8.0]], dtype=torch.float64)
    move = Markov(lambda s, a: s + a)
    problem = Problem.between(move, start, goal, 4, -bound, bound, objective=objective, scale=torch.ones(1).double())
    found = plan(problem, LatCo(method="gauss_newton", multiplier=1e3, score_every=1), Budget(steps=3))
    # One goal is 1 away: four equal steps of almost a quarter. The other goal is unreachable: every action is on its
    # bound.
    torch.testing.assert_close(found.actions[0], torch.full((4, 1), 1 / 4.01, dtype=torch.float64), rtol=0, atol=1e-4)
    assert torch.equal(found.actions[1], torch.full((4, 1), -0.5, dtype=torch.float64))
    assert found.warm_start.state.defects.max() < 1e-3


@pytest.mark.parametrize("context", [1, 3])
def test_defects_are_those_of_the_definition(context):
    problem = toys.problem(2, 4, toys.Remembering(context), scale=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
    states, actions = toys.fixed(2, 4, 3, seed=1), toys.fixed(2, 4, 2, seed=2)
    normal = problem.normalised()
    made = defects(normal, states, actions).square().sum(-1)
    state = LatCo().init(normal, actions, Noise.of(0, 2))._replace(states=states, actions=actions)
    torch.testing.assert_close(made, squared(problem, state))
    rolled_out = normal.rollout(actions)
    assert defects(normal, rolled_out, actions).abs().max() < 1e-12


def test_it_starts_on_the_straight_line_that_ends_at_the_goal():
    problem = toys.problem(2, 5)
    state = LatCo().init(problem, torch.zeros(2, 5, 2, dtype=torch.float64), Noise.of(0, 2))
    for t in range(1, 6):
        expected = problem.start + t / 5 * (problem.goal - problem.start)
        torch.testing.assert_close(state.states[:, t - 1], expected)
    assert torch.equal(state.states[:, -1], problem.goal)


@pytest.mark.parametrize("method", ["first_order", "gauss_newton"])
def test_multipliers_follow_their_defects(method):
    problem = toys.problem(2, 4)
    planner = LatCo(method=method, dual_every=3, dual_rate=0.5, threshold=1e-3, max_multiplier=2.0, score_every=100)
    seen = states_of(problem, planner, 9)
    one = torch.ones(2, 4, dtype=torch.float64)
    assert torch.equal(seen[0].multipliers, one) and torch.equal(seen[1].multipliers, one)
    for k in (2, 5, 8):
        excess = torch.log10((seen[k].defects + 1e-4) / 1e-3)
        expected = (seen[k - 1].multipliers * (1 + 0.5 * excess).clamp(min=0.1)).clamp(max=2.0)
        torch.testing.assert_close(seen[k].multipliers, expected)
    assert torch.equal(seen[2].multipliers, seen[4].multipliers), "between dual updates they stay"
    assert (seen[2].multipliers != one).any()
    assert max(state.multipliers.max() for state in seen) <= 2.0


def test_multipliers_grow_above_the_threshold_and_fall_below_it():
    problem = toys.problem(1, 2)
    planner = LatCo(dual_every=1, threshold=1e-2)
    state = planner.init(problem, torch.zeros(1, 2, 2, dtype=torch.float64), Noise.of(0, 1))
    grown, _ = planner.step(problem, state, Noise.of(0, 1))
    assert (grown.defects > 0.9e-2).any() and (grown.multipliers[grown.defects > 0.9e-2] > 1).all()
    exact = state._replace(states=problem.rollout(state.actions))
    fallen, _ = planner.step(problem, exact, Noise.of(0, 1))
    assert (fallen.multipliers < 1).all()


def test_first_order_moves_states_by_their_full_gradient():
    """Unlike in GRASP, dL/ds_t includes the gradient through F."""
    problem = toys.problem(2, 4, scale=torch.ones(3, dtype=torch.float64))
    planner = LatCo(state_lr=0.01, action_lr=0.01)
    state = planner.init(problem, 0.3 * toys.fixed(2, 4, 2, seed=3), Noise.of(0, 2))
    after, _ = planner.step(problem, state, Noise.of(0, 2))
    states, actions = state.states.clone().requires_grad_(), state.actions.clone().requires_grad_()
    loss = (states[:, -1] - problem.goal).square().sum()
    before = problem.start
    for t in range(4):
        move = problem.dynamics(before[:, None], actions[:, t, None])
        loss = loss + (move - states[:, t]).square().sum()
        before = states[:, t]
    optimiser = torch.optim.Adam([states, actions], lr=0.01, eps=1e-12)
    loss.backward()
    optimiser.step()
    torch.testing.assert_close(after.states, states.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(after.actions, actions.detach(), rtol=1e-9, atol=1e-12)


def test_gauss_newton_solves_a_linear_quadratic_problem_in_one_step():
    problem = lq.problem()
    best, least = lq.optimum(problem)
    planner = LatCo(method="gauss_newton", damping=1e-12, multiplier=1e7, max_multiplier=1e7, score_every=1)
    found = plan(problem, planner, Budget(steps=2))
    assert found.transitions == 3 * problem.horizon, "the start, one step of T rows, and its score"
    torch.testing.assert_close(found.actions, best, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.cost, least, rtol=1e-6, atol=1e-9)


def test_damping_shortens_the_step():
    problem = lq.problem()
    sizes = []
    for damping in (1e-6, 1.0, 100.0):
        planner = LatCo(method="gauss_newton", damping=damping, score_every=1)
        sizes.append(states_of(problem, planner, 1)[0].actions.norm().item())
    assert sizes[0] > sizes[1] > sizes[2] > 0


@pytest.mark.parametrize("context", [1, 2, 3])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_the_slope_is_that_of_autograd(context, horizon):
    model = toys.Nonlinear() if context == 1 else toys.Remembering(context)
    problem = toys.problem(2, horizon, model, scale=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
    states, actions = toys.fixed(2, horizon, 3, seed=1), toys.fixed(2, horizon, 2, seed=2)
    problem = problem.normalised()
    found, slope = _linearised(problem, states, actions)
    torch.testing.assert_close(found, defects(problem, states, actions).detach())
    by_state, by_action = torch.autograd.functional.jacobian(
        lambda lifted, moves: defects(problem, lifted, moves), (states, actions)
    )
    for i in range(2):
        expected = torch.cat([by_state[i, :, :, i].flatten(2), by_action[i, :, :, i].flatten(2)], dim=2)
        torch.testing.assert_close(slope[i], expected)


@pytest.mark.parametrize("context", [1, 3])
def test_a_step_is_that_of_the_stacked_least_squares_problem(context):
    """The step minimises |r + J x|^2 + damping |x|^2, for residuals that are written out one by one."""
    objective = GoalDistance(weights=(1.0, 0.5, 2.0), stage_weight=0.3, effort=0.2)
    model = toys.Nonlinear() if context == 1 else toys.Remembering(context)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    problem = toys.problem(2, 4, model, objective=objective, scale=scale, bound=1e9)
    states, actions = toys.fixed(2, 4, 3, seed=1), toys.fixed(2, 4, 2, seed=2)
    multipliers = toys.fixed(2, 4, seed=3).square() + 0.1
    new_states, new_actions, _ = gauss_newton_step(problem.normalised(), states, actions, multipliers, damping=0.05)

    def residuals(variables):
        scaled, moves = variables[:12].reshape(1, 4, 3), variables[12:].reshape(1, 4, 2)
        one = toys.rows(problem, [i]).normalised()
        defect = defects(one, scaled, moves)[0] * multipliers[i].sqrt()[:, None]
        to_goal = (scaled[0] - problem.goal[i] / scale) * torch.tensor(objective.weights).double().sqrt()
        share = torch.tensor([0.3, 0.3, 0.3, 1.0]).double().sqrt()[:, None]
        return torch.cat([defect.flatten(), (share * to_goal).flatten(), 0.2**0.5 * moves.flatten()])

    for i in range(2):
        at = torch.cat([states[i].flatten(), actions[i].flatten()])
        slope, rest = torch.autograd.functional.jacobian(residuals, at), residuals(at)
        move = -torch.linalg.solve(slope.T @ slope + 0.05 * torch.eye(20, dtype=torch.float64), slope.T @ rest)
        torch.testing.assert_close(new_states[i], (at + move)[:12].reshape(4, 3))
        torch.testing.assert_close(new_actions[i], (at + move)[12:].reshape(4, 2))


def test_too_large_for_dense_equations_is_said_before_anything_is_computed():
    calls = []
    model = Markov(lambda s, a: (calls.append(1), s + 0.1 * a.sum(-1, keepdim=True))[1])
    latent = MOST_VARIABLES
    problem = toys.problem(1, 2, model, latent=latent)
    with pytest.raises(GraspPlannerError, match=rf"2 \* \({latent} \+ 2\) = {2 * (latent + 2)}.*first_order"):
        plan(problem, LatCo(method="gauss_newton"), Budget(steps=1))
    assert len(calls) == 2, "the start was scored, and no more"
    assert plan(problem, LatCo(), Budget(steps=1)).steps == 1


@pytest.mark.parametrize("damping", [0.0, 1e-3])
def test_an_action_without_effect_neither_runs_off_nor_looks_like_a_plan(damping):
    """Without damping the equations are singular. The problem is then marked NONFINITE, without a step to a bound."""
    problem = toys.problem(2, 4, Markov(lambda s, a: 0.9 * s + 0.3 * a[:, :1]))
    seen = []
    planner = LatCo(method="gauss_newton", damping=damping, score_every=1)
    found = plan(problem, planner, Budget(steps=5), callback=lambda p: seen.append(p.best.actions))
    assert torch.isfinite(found.actions).all()
    assert not found.actions[:, :, 1].any(), "the action that does nothing stays where it was"
    if damping:
        assert (found.status == Status.BUDGET).all() and (found.cost < found.trace.cost[0]).all()


@pytest.mark.parametrize("method", ["first_order", "gauss_newton"])
def test_scored_when_it_is_due_and_at_the_end(method):
    problem = toys.problem(2, 3)
    planner, seen = LatCo(method=method, score_every=3), []
    state, noise, normal = None, Noise.of(1, 2), problem.normalised()
    state = planner.init(normal, torch.zeros(2, 3, 2, dtype=torch.float64), noise)
    for k in range(10):
        before = state
        state, scored = planner.step(normal, state, noise.fold(k))
        seen.append(scored is not None)
        if scored is not None:
            torch.testing.assert_close(scored.cost, toys.cost_by_hand(problem, state.actions))
            assert torch.equal(state.states, before.states) and torch.equal(state.actions, before.actions)
    assert seen == [False, False, False, True] * 2 + [False, False]
    found = plan(problem, LatCo(method=method, score_every=100), Budget(steps=8))
    assert (found.cost < found.trace.cost[-1]).any(), "the last actions are scored when planning ends"


def test_one_call_of_the_model_on_all_steps():
    rows = []
    inner = toys.Nonlinear()
    model = Markov(lambda s, a: (rows.append(s.shape[0]), inner(s[:, None], a[:, None]))[1])
    for planner in (LatCo(score_every=100), LatCo(method="gauss_newton", score_every=100)):
        rows.clear()
        plan(toys.problem(3, 7, model), planner, Budget(steps=4))
        assert rows == [3] * 7 + [21] * 4 + [3] * 7


def test_weights_of_zero_leave_a_coordinate_free():
    """The last state is a variable, and only the objective pulls it towards the goal."""
    objective = GoalDistance(weights=(1.0, 0.0, 1.0))
    problem = toys.problem(2, 4, objective=objective)
    for method in ("first_order", "gauss_newton"):
        state = states_of(problem, LatCo(method=method, dual_rate=0.1), 60)[-1]
        assert ((state.states[:, -1] * problem.unit - problem.goal).abs()[:, 1] > 1e-2).any()


def test_gauss_newton_objective_must_be_squares():
    class Other:
        def terminal(self, states, goal):
            return (states - goal).abs().sum(-1)

        def stage(self, states, actions, goal):
            return actions.abs().sum(-1)

    problem = dataclasses.replace(toys.problem(2, 4), objective=Other())
    with pytest.raises(GraspPlannerError, match="sum of squares.*Other.*first_order"):
        plan(problem, LatCo(method="gauss_newton"), Budget(steps=1))
    assert plan(problem, LatCo(), Budget(steps=1)).steps == 1
