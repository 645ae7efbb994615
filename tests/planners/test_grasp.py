"""GRASP: its gradients, the cost of its steps, fixed states, the times of syncs, and fixed points."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from grasp_watched import NEVER, ONES, after, begun, states_of

import toys
from grasp_planner import CEM, GD, GRASP, Budget, GoalDistance, Markov, MultiStart, Problem, Status, plan
from grasp_planner.core.noise import Noise


class Guarded(torch.autograd.Function):
    """The model s' = 0.9 s + 0.3 a, which stores its gradient to s."""

    asked: list[bool] = []

    @staticmethod
    def forward(ctx, states, actions):
        return 0.9 * states + 0.3 * actions.sum(-1, keepdim=True)

    @staticmethod
    def backward(ctx, gradient):
        Guarded.asked.append(ctx.needs_input_grad[0])
        return 0.9 * gradient, 0.3 * gradient.sum(-1, keepdim=True).expand(-1, 2)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("stage_weight", [0.0, 0.1])
def test_gradients_to_state_inputs(stop, optimiser, stage_weight):
    Guarded.asked.clear()
    problem = toys.problem(2, 4, Markov(Guarded.apply), objective=GoalDistance(stage_weight=stage_weight))
    plan(problem, GRASP(stop_gradient=stop, optimiser=optimiser, sync=CEM(samples=4, elites=2)), Budget(steps=6))
    assert Guarded.asked == [not stop] * 6, "one backward pass a step"


def test_a_fault_of_a_lifted_step_is_marked_in_that_step():
    broken = Markov(lambda s, x: s + x.sum(-1, keepdim=True) * torch.where(s[:, :1] > 0.5, torch.nan, 1.0))
    goal = torch.full((3, 3), 0.4, dtype=torch.float64)
    goal[1] = 4.0  # the straight line to this goal leads through the states in which the model fails
    problem = Problem.between(broken, torch.zeros_like(goal), goal, 4, -torch.ones(2).double(), 1.0)
    seen = []
    planner = GRASP(sync=None, sync_every=NEVER)
    plan(problem, planner, Budget(steps=1), callback=lambda p: seen.append(p.status.tolist()))
    assert seen == [[-1, -1, -1], [-1, Status.NONFINITE, -1]]


def test_actions_whose_sum_overflows_are_no_fault():
    problem = toys.problem(2, 4, Markov(lambda s, x: s + x.sum(-1, keepdim=True).tanh()), bound=1e308)
    huge = torch.full((2, 4, 2), 8e307, dtype=torch.float64)
    found = plan(problem, GRASP(sync=None, sync_every=NEVER), Budget(steps=2), warm_start=huge)
    assert found.status.tolist() == [Status.BUDGET] * 2


def test_without_the_stop_states_are_moved_through_the_model():
    problem = toys.problem(2, 4, scale=ONES)
    moved = {}
    for stop in (True, False):
        planner = GRASP(
            optimiser="sgd", state_lr=0.1, state_noise=0.0, goal_weight=1.0, stop_gradient=stop, sync_every=NEVER
        )
        moved[stop] = states_of(problem, planner, 1)[1].states
    start = begun(problem.normalised(), planner).states
    assert not torch.allclose(moved[True], moved[False], atol=1e-3)
    # The last virtual state is the target of one prediction and the input of the next.
    lifted = start.clone().requires_grad_()
    path = torch.cat([problem.start[:, None], lifted], dim=1)
    predicted = problem.predict(path, torch.zeros(2, 4, 2, dtype=torch.float64))
    loss = (predicted - torch.cat([lifted, problem.goal[:, None]], dim=1)).square().sum()
    loss = loss + (predicted - problem.goal[:, None]).square().sum()
    (gradient,) = torch.autograd.grad(loss, lifted)
    torch.testing.assert_close(moved[False], start - 0.1 * gradient)


@pytest.mark.parametrize("horizon", [1, 2, 10, 200])
@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.parametrize("context", [1, 3])
def test_a_lifted_step_is_one_call_whatever_the_horizon(horizon, starts, context):
    model = toys.Counted(toys.Nonlinear() if context == 1 else toys.Remembering(context))
    spent = []
    planner = MultiStart(GRASP(sync=None, sync_every=NEVER), starts=starts)
    plan(
        toys.problem(2, horizon, model),
        planner,
        Budget(steps=3),
        callback=lambda p: spent.append(model.calls),
    )
    assert [after - before for before, after in zip(spent, spent[1:])] == [1, 1, 1]
    assert model.rows[spent[0] : spent[-1]] == [2 * starts * horizon] * 3


@pytest.mark.parametrize("context", [1, 3])
def test_the_first_state_is_held_and_the_last_is_the_goal(context):
    """Every lifted call begins with the given history, and s_T is never an input."""
    model = toys.Counted(toys.Remembering(context), keep=True)
    problem = toys.problem(2, 5, model)
    planner = GRASP(sync_every=NEVER, state_noise=0.3)
    seen = states_of(problem, planner, 4)
    assert all(state.states.shape == (2, 4, 3) for state in seen[1:])
    for call in model.states[5:9]:
        windows = call.unflatten(0, (2, 5))
        torch.testing.assert_close(windows[:, 0], problem.states)
    for before, call in zip(seen[1:4], model.states[6:9]):
        torch.testing.assert_close(call.unflatten(0, (2, 5))[:, 1:, -1], before.states * problem.unit[:, None])


def by_hand(problem, states, actions, eta_s, eta_a, gamma):
    """Compute equations 10 to 12 for one problem and one time step after another, in the units of the latent."""
    new_states, new_actions = states.clone(), actions.clone()
    for i in range(actions.shape[0]):
        path = [problem.start[i], *states[i], problem.goal[i]]
        for t in range(actions.shape[1]):
            action = actions[i, t].clone().requires_grad_()
            predicted = problem.dynamics(path[t].detach()[None, None], action[None, None])[0]
            residual = (predicted - path[t + 1]).square().sum()
            shaping = (predicted - problem.goal[i]).square().sum()
            (gradient,) = torch.autograd.grad(residual + gamma * shaping, action)
            new_actions[i, t] = (actions[i, t] - eta_a * gradient).clamp(-1, 1)
            if t + 1 < actions.shape[1]:
                new_states[i, t] = path[t + 1] + 2 * eta_s * (predicted.detach() - path[t + 1])
    return new_states, new_actions


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("horizon", [1, 2, 6])
def test_the_sgd_form_is_the_papers_update(gamma, horizon):
    problem = toys.problem(2, horizon, scale=ONES)
    planner = GRASP(optimiser="sgd", state_lr=0.3, action_lr=0.1, state_noise=0.0, goal_weight=gamma, sync_every=NEVER)
    actions = 0.5 * toys.fixed(2, horizon, 2, seed=4).clamp(-1, 1)
    seen = states_of(problem, planner, 4, warm_start=actions)
    states = begun(problem, planner, actions).states
    for state in seen[1:]:
        states, actions = by_hand(problem, states, actions, 0.3, 0.1, gamma)
        torch.testing.assert_close(state.states, states, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(state.actions, actions, rtol=1e-9, atol=1e-12)


def test_state_steps_and_noise_are_in_units_of_the_scale():
    """In units of a scale, equation 11 is the same equation."""
    scale = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    problem = toys.problem(2, 5, scale=scale)
    normal = problem.normalised()
    planner = GRASP(optimiser="sgd", state_lr=0.2, state_noise=0.0, sync_every=NEVER)
    noisy = dataclasses.replace(planner, state_noise=0.4)
    state = begun(normal, planner)
    in_their_units = state.states * scale
    predicted = problem.predict(torch.cat([problem.start[:, None], in_their_units], dim=1), state.actions)[:, :-1]
    quiet = after(planner, normal, state, Noise.of(1, 2)).states * scale
    torch.testing.assert_close(quiet, in_their_units + 2 * 0.2 * (predicted - in_their_units))
    draws = torch.stack([after(noisy, normal, state, Noise.of(seed, 2)).states * scale - quiet for seed in range(400)])
    torch.testing.assert_close(draws.std((0, 1, 2)), 0.4 * scale, rtol=0.05, atol=0)
    assert (draws.mean((0, 1, 2)) / scale).abs().max() < 0.02


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_noise_goes_to_the_states_alone(optimiser):
    problem = toys.problem(2, 5)
    quiet = GRASP(optimiser=optimiser, state_noise=0.0, sync_every=NEVER)
    noisy = dataclasses.replace(quiet, state_noise=0.5)
    state = begun(problem, quiet)
    first, second = (after(planner, problem, state, Noise.of(1, 2)) for planner in (quiet, noisy))
    assert torch.equal(first.actions, second.actions)
    assert (first.states != second.states).all()


def test_noise_is_drawn_anew_at_each_step_state_coordinate_and_problem():
    """With learning rate 0, the states are a random walk."""
    problem = toys.problem(4, 300, scale=ONES)
    planner = GRASP(optimiser="sgd", state_lr=0.0, action_lr=0.0, state_noise=0.2, sync=None, sync_every=NEVER)
    seen = []
    plan(problem, planner, Budget(steps=3), seeds=[1, 2, 3, 4], callback=lambda p: seen.append(p.state))
    jumps = torch.stack([later.states - sooner.states for sooner, later in zip(seen[1:], seen[2:])])
    series = jumps.movedim(2, -1).flatten(0, -2)
    assert series.shape == (2 * 4 * 3, 299)
    assert series.std().item() == pytest.approx(0.2, rel=0.05)
    correlation = torch.corrcoef(series) - torch.eye(len(series))
    assert correlation.abs().max() < 0.25, "five standard errors: no two series are alike"


def test_adam_is_torch_adam_on_equation_ten():
    problem = toys.problem(2, 5, bound=100.0)
    planner = GRASP(state_lr=0.1, action_lr=0.03, state_noise=0.0, goal_weight=0.5, sync_every=NEVER)
    unit, normal = problem.unit[:, None], problem.normalised()
    state = begun(normal, planner)
    scaled = state.states.clone().requires_grad_()
    actions = state.actions.clone().requires_grad_()
    # For a state, a gradient below the square root of the precision counts as zero, see the step of GRASP.
    nil = torch.finfo(torch.float64).eps ** 0.5
    groups = [{"params": [scaled], "lr": 0.1, "eps": nil}, {"params": [actions], "lr": 0.03, "eps": 1e-12}]
    reference = torch.optim.Adam(groups)
    for _ in range(15):
        state = after(planner, normal, state, Noise.of(1, 2))
        reference.zero_grad()
        path = torch.cat([problem.start[:, None], scaled.detach() * unit], dim=1)
        predicted = problem.predict(path, actions) / unit
        goal = (problem.goal / problem.unit)[:, None]
        loss = (predicted - torch.cat([scaled, goal], dim=1)).square().sum()
        (loss + 0.5 * (predicted - goal).square().sum()).backward()
        reference.step()
        torch.testing.assert_close(state.actions, actions.detach(), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(state.states, scaled.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_without_noise_and_sync_it_settles_on_the_greedy_policy(gamma):
    """Each action then minimises only the distance of the next state, for any gamma: far from the best plan."""
    a, _ = toys.matrices(4, 2, 0.98, seed=7)
    b, _ = torch.linalg.qr(toys.fixed(4, 2, seed=8))
    model = Markov(lambda s, x: s @ a.T + x @ b.T)
    problem = toys.problem(2, 8, model, latent=4, scale=torch.ones(4, dtype=torch.float64), bound=1e9)
    planner = GRASP(
        optimiser="sgd",
        state_lr=0.5,
        action_lr=0.25 / (1 + gamma),
        state_noise=0.0,
        goal_weight=gamma,
        sync=None,
        sync_every=NEVER,
    )
    state = states_of(problem, planner, 320)[-1]
    for i in range(2):
        at = problem.start[i]
        for t in range(8):
            greedy = b.T @ (problem.goal[i] - a @ at)  # the columns of B are orthonormal
            torch.testing.assert_close(state.actions[i, t], greedy, rtol=0, atol=1e-6)
            at = a @ at + b @ greedy
            if t < 7:
                torch.testing.assert_close(state.states[i, t], at, rtol=0, atol=1e-6)
    greedy_cost = toys.cost_by_hand(problem, state.actions)
    best = plan(problem, GD(lr=0.1), Budget(steps=200))
    assert (best.cost < 1e-6).all() and (greedy_cost > 0.1).all()


def test_with_no_goal_weight_it_settles_on_the_rollout():
    """With learning rate 1/2, a step sets each state to its prediction, and T steps reproduce the rollout."""
    problem = toys.problem(2, 6, scale=ONES)
    planner = GRASP(optimiser="sgd", state_lr=0.5, action_lr=0.0, state_noise=0.0, goal_weight=0.0, sync_every=NEVER)
    actions = 0.5 * toys.fixed(2, 6, 2, seed=4).clamp(-1, 1)
    seen = states_of(problem, planner, 6, warm_start=actions)
    rolled_out = toys.rollout_by_hand(problem, actions)[:, :-1]
    for k, state in enumerate(seen[1:], start=1):
        torch.testing.assert_close(state.states[:, :k], rolled_out[:, :k])
    assert not torch.allclose(seen[1].states[:, 1:], rolled_out[:, 1:])
