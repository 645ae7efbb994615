"""Linear-quadratic problems: two closed forms agree with each other, with perturbations and with gradient descent."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grasp_planner import GD, GRASP, Budget, GoalDistance, GraspPlannerError, Markov, Problem, plan
from grasp_planner.models.linear_quadratic import LinearQuadratic, Quadratic, double_integrator


def positive(size, seed):
    """Return a positive definite matrix."""
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size, dtype=torch.float64)


OBJECTIVES = {
    "goal distance": GoalDistance(),
    "weights and effort": GoalDistance(weights=(1.0, 0.5, 2.0, 0.0), stage_weight=0.3, effort=0.1),
    "terminal matrix": Quadratic(positive(4, 1)),
    "whole matrices": Quadratic(positive(4, 2), positive(4, 3), positive(2, 4)),
}


def cost_by_hand(model, problem, actions, last, state, action):
    """Compute the cost with plain matrix products, in units of the scale."""
    costs = []
    for i in range(problem.batch):
        now, total = problem.start[i], 0.0
        for t in range(problem.horizon):
            error = (now - problem.goal[i]) / problem.unit[i]
            total += error @ state @ error + actions[i, t] @ action @ actions[i, t]
            now = model.transition @ now + model.control @ actions[i, t]
        error = (now - problem.goal[i]) / problem.unit[i]
        costs.append(total + error @ last @ error)
    return torch.stack(costs)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("horizon", [1, 2, 9])
@pytest.mark.parametrize("scaled", [False, True])
def test_two_closed_forms_agree(name, horizon, scaled):
    model = LinearQuadratic.random(seed=5, radius=1.1)
    scale = torch.tensor([0.5, 1.0, 3.0, 2.0], dtype=torch.float64) if scaled else None
    problem = model.problem(3, horizon, objective=OBJECTIVES[name], scale=scale, seed=horizon)
    first, second = model.optimum(problem), model.optimum(problem, method="stacked")
    torch.testing.assert_close(first.cost, second.cost, rtol=1e-9, atol=1e-12)
    if name in ("weights and effort", "whole matrices"):  # in these cases, the optimum is unique
        torch.testing.assert_close(first.actions, second.actions, rtol=1e-7, atol=1e-9)


@given(
    state_size=st.integers(1, 6),
    action_size=st.integers(1, 4),
    horizon=st.integers(1, 12),
    radius=st.floats(0.5, 1.3),
    seed=st.integers(0, 2**20),
)
def test_closed_forms_agree_on_random_instances(state_size, action_size, horizon, radius, seed):
    model = LinearQuadratic.random(state_size, action_size, radius=radius, seed=seed)
    problem = model.problem(2, horizon, seed=seed, objective=GoalDistance(stage_weight=0.2, effort=0.05))
    first, second = model.optimum(problem), model.optimum(problem, method="stacked")
    torch.testing.assert_close(first.actions, second.actions, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(first.cost, second.cost, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_optimum_is_one(name):
    model = LinearQuadratic.random(seed=2)
    problem = model.problem(4, 6, objective=OBJECTIVES[name], seed=9)
    best = model.optimum(problem)
    actions = best.actions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.cost(problem.rollout(actions), actions).sum(), actions)
    assert gradient.abs().max() < 1e-9
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1.0):
        other = best.actions + size * torch.randn(best.actions.shape, generator=generator, dtype=torch.float64)
        assert (problem.cost(problem.rollout(other), other) >= best.cost).all()


def test_the_cost_is_what_the_matrices_say():
    model = LinearQuadratic.random(seed=2)
    last, state, action = positive(4, 5), positive(4, 6), positive(2, 7)
    problem = model.problem(3, 5, objective=Quadratic(last, state, action))
    best = model.optimum(problem)
    torch.testing.assert_close(cost_by_hand(model, problem, best.actions, last, state, action), best.cost)
    weights = torch.tensor([1.0, 2.0, 0.0, 3.0], dtype=torch.float64)
    problem = model.problem(3, 5, objective=GoalDistance(weights, stage_weight=0.5, effort=0.2))
    best = model.optimum(problem)
    by_hand = cost_by_hand(
        model, problem, best.actions, torch.diag(weights), 0.5 * torch.diag(weights), 0.2 * torch.eye(2).double()
    )
    torch.testing.assert_close(by_hand, best.cost)


def test_an_algebraic_riccati_fixed_point():
    """For long horizons, the first action is that of the infinite horizon, u = -k x, with P of the scalar equation."""
    a, b, q, r = 1.2, 0.5, 1.0, 0.3
    model = LinearQuadratic(*(torch.tensor([[value]], dtype=torch.float64) for value in (a, b)))
    # P = q + a^2 P - (a b P)^2 / (r + b^2 P) is b^2 P^2 + (r (1 - a^2) - q b^2) P - q r = 0.
    middle = r * (1 - a**2) - q * b**2
    p = (-middle + (middle**2 + 4 * b**2 * q * r) ** 0.5) / (2 * b**2)
    objective = Quadratic(*(torch.tensor([[value]], dtype=torch.float64) for value in (q, q, r)))
    one = torch.ones(1, dtype=torch.float64)
    problem = Problem.between(
        model, one[None], 0 * one[None], 200, -one * torch.inf, one * torch.inf, objective=objective, scale=one
    )
    first = model.optimum(problem).actions[0, 0, 0].item()
    assert first == pytest.approx(-a * b * p / (r + b**2 * p), rel=1e-12)
    assert model.optimum(problem).cost.item() == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "optimiser"),
    [("goal distance", "adam"), ("goal distance", "sgd"), ("weights and effort", "adam")],
)
def test_descent_reaches_the_optimum(name, optimiser):
    model = LinearQuadratic.random(seed=1)
    problem = model.problem(4, 6, objective=OBJECTIVES[name], seed=4, scale=torch.ones(4, dtype=torch.float64))
    best = model.optimum(problem)
    found = plan(problem, GD(lr=0.03 if optimiser == "adam" else 0.01, optimiser=optimiser), Budget(steps=900))
    assert (found.cost >= best.cost - 1e-12).all()
    assert (found.cost - best.cost).max() < 1e-5
    if name == "weights and effort":
        assert (found.actions - best.actions).abs().max() < 1e-3


def test_instances_are_controllable_and_repeatable():
    for seed in range(5):
        model, again = LinearQuadratic.random(5, 1, seed=seed), LinearQuadratic.random(5, 1, seed=seed)
        assert model.controllable
        assert torch.equal(model.transition, again.transition) and torch.equal(model.control, again.control)
        eye = torch.eye(5, dtype=torch.float64)
        torch.testing.assert_close(model.transition @ model.transition.mT, eye)
    stuck = LinearQuadratic(torch.eye(2).double(), torch.tensor([[1.0], [0.0]]).double())
    assert not stuck.controllable
    assert double_integrator().controllable and double_integrator(axes=3).controllable
    first, second = (LinearQuadratic.random(seed=0).problem(3, 4, seed=s) for s in (0, 1))
    assert not torch.equal(first.start, second.start)


def test_controllable_means_that_the_goal_is_reached():
    for model in (LinearQuadratic.random(5, 1, seed=3), double_integrator(axes=2)):
        size = model.transition.shape[0]
        assert (model.optimum(model.problem(3, size)).cost < 1e-9).all()


def test_the_double_integrator_is_exact():
    """Under a constant force, x = x0 + v0 t + a t^2 / 2 at every step."""
    model = double_integrator(step=0.2, axes=2)
    start = torch.tensor([[1.0, -1.0, 0.5, 2.0]], dtype=torch.float64)
    push = torch.tensor([0.3, -0.7], dtype=torch.float64)
    problem = Problem.between(model, start, start, 15, -torch.ones(2).double(), torch.ones(2).double())
    states = problem.rollout(push.expand(1, 15, 2))[0]
    time = 0.2 * torch.arange(1, 16, dtype=torch.float64)[:, None]
    torch.testing.assert_close(states[:, :2], start[:, :2] + time * start[:, 2:] + time**2 / 2 * push)
    torch.testing.assert_close(states[:, 2:], start[:, 2:] + time * push)


def test_a_constant_goal_weight_biases_an_underactuated_system():
    """A constant goal weight pulls every prediction towards the goal. It leads to the greedy plan, which overshoots."""
    model = double_integrator(step=0.25)
    start = torch.tensor([[0.0, 0.0], [1.0, -0.5], [-0.5, 0.5]], dtype=torch.float64)
    goal = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(3, 2)
    problem = Problem.between(model, start, goal, 10, -torch.ones(1).double(), torch.ones(1).double())
    planner = GRASP(
        state_noise=0.0,
        state_lr=0.1,
        action_lr=0.02,
        sync=GD(lr=0.01),
        sync_every=25,
        sync_steps=5,
        reset_states=True,
    )
    biased, free = (plan(problem, replace(planner, goal_weight=w), Budget(steps=600)).cost for w in (1.0, 0.0))
    assert (biased > 0.01).all() and (free < 1e-3).all()


def test_predictions_along_a_rollout_give_it_back():
    for model in (LinearQuadratic.random(seed=0), double_integrator(axes=2)):
        problem = model.problem(2, 5, bound=2.0)
        actions = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        states = problem.rollout(actions)
        before = torch.cat([problem.start[:, None], states[:, :-1]], dim=1)
        torch.testing.assert_close(problem.predict(before, actions), states, rtol=0, atol=1e-14)


def test_float32_gives_the_same_optimum():
    double, single = (LinearQuadratic.random(seed=0, dtype=dtype) for dtype in (torch.float64, torch.float32))
    first = double.optimum(double.problem(2, 6, objective=OBJECTIVES["weights and effort"]))
    second = single.optimum(single.problem(2, 6, objective=OBJECTIVES["weights and effort"]))
    assert second.actions.dtype == second.cost.dtype == torch.float32
    torch.testing.assert_close(second.actions.double(), first.actions, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearQuadratic(torch.eye(2), torch.ones(3, 1)), r"\(s, s\) and \(s, a\)"),
        (lambda: LinearQuadratic(torch.eye(2), torch.ones(2, 1).double()), "of one dtype"),
        (lambda: Quadratic(torch.tensor([[1.0, 2.0], [0.0, 1.0]])), "Quadratic.last must be square and symmetric"),
        (lambda: Quadratic(torch.eye(2), state=-torch.eye(2)), "Quadratic.state must be positive semidefinite"),
    ],
)
def test_matrices_that_do_not_fit(make, message):
    with pytest.raises(GraspPlannerError, match=message):
        make()


def test_no_closed_form_is_said():
    model = LinearQuadratic.random(seed=0)
    with pytest.raises(GraspPlannerError, match="outside the bounds"):
        model.optimum(model.problem(2, 3, bound=1e-3))
    with pytest.raises(GraspPlannerError, match="'riccati' or 'stacked', got 'guess'"):
        model.optimum(model.problem(2, 3), method="guess")

    class Absolute:
        def terminal(self, states, goal):
            return (states - goal).abs().sum(-1)

        def stage(self, states, actions, goal):
            return 0 * actions.sum(-1)

    with pytest.raises(GraspPlannerError, match="got Absolute"):
        model.optimum(model.problem(2, 3, objective=Absolute()))


def test_markov_says_the_same():
    model = LinearQuadratic.random(seed=0)
    same = Markov(lambda state, action: state @ model.transition.mT + action @ model.control.mT)
    problem = model.problem(2, 4)
    actions = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(problem.rollout(actions), problem.through(same).rollout(actions), rtol=0, atol=1e-15)
