"""Projected and StraightThrough: their predictions, their derivatives, and what a planner sees of them."""

from __future__ import annotations

import pytest
import torch

import toys
from grasp_planner import GD, GRASP, Budget, GaussNewton, GraspPlannerError, LatCo, plan
from grasp_planner.planners.least_squares import exact
from grasp_planner.planners.linearisation import linearise
from grasp_planner.wrappers.projected import Projected
from grasp_planner.wrappers.straight_through import StraightThrough

BOX = 0.2


def inside(states):
    return states.clamp(-BOX, BOX)


def inputs(context, count=5):
    return toys.fixed(count, context, 3, seed=1), toys.fixed(count, context, 2, seed=2)


def of_context(context):
    return toys.Nonlinear() if context == 1 else toys.Remembering(context)


@pytest.mark.parametrize("context", [1, 3])
def test_the_model_reads_projected_states_only(context):
    inner = toys.Counted(of_context(context), keep=True)
    states, actions = inputs(context)
    found = Projected(inner, inside)(states, actions)
    assert torch.equal(found, of_context(context)(inside(states), actions))
    assert torch.equal(inner.states[0], inside(states)) and torch.equal(inner.actions[0], actions)


@pytest.mark.parametrize(
    "planner", [GD(), GaussNewton(), GRASP(sync_every=3, sync_steps=2), LatCo()], ids=lambda one: type(one).__name__
)
def test_no_planner_evaluates_the_model_outside(planner):
    """The virtual states of GRASP and LatCo start at goals far outside of the box, and predictions leave it, too."""
    inner = toys.Counted(toys.Nonlinear(), keep=True)
    whole = toys.problem(2, 6, inner)
    plan(whole, planner, Budget(steps=6))
    assert max(float(states.abs().max()) for states in inner.states) > 2 * BOX, "without the projection, it is"
    inner.states.clear()
    found = plan(whole.through(Projected(inner, inside)), planner, Budget(steps=6))
    assert max(float(states.abs().max()) for states in inner.states) <= BOX
    assert float(found.states.abs().max()) > BOX, "the states of a plan are the predictions"


def test_derivatives_go_through_the_projection():
    states, actions = inputs(1)
    leaf = states.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Projected(toys.Nonlinear(), inside)(leaf, actions).sum(), leaf)
    moved = (states.abs() > BOX).any()
    assert bool(moved) and gradient[states.abs() > BOX].eq(0).all() and gradient[states.abs() < BOX].ne(0).all()


@pytest.mark.parametrize("project", [lambda states: states[:, -1], torch.Tensor.float, lambda states: None])
def test_a_projection_must_return_states(project):
    states, actions = inputs(1)
    words = r"Projected\.project was given states \(5, 1, 3\) torch.float64 and must return states of the same shape"
    with pytest.raises(GraspPlannerError, match=words):
        Projected(toys.Nonlinear(), project)(states, actions)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("context", [1, 3])
def test_predictions_stay_and_the_derivative_by_the_state_is_mixed_with_the_identity(context, share):
    model, (states, actions) = of_context(context), inputs(context)
    found = StraightThrough(model, share)
    assert torch.equal(found(states, actions), model(states, actions))
    for row in range(len(states)):
        pair = states[row : row + 1], actions[row : row + 1]
        (own, by_action), (mixed, same) = (torch.autograd.functional.jacobian(f, pair) for f in (model, found))
        torch.testing.assert_close(same, by_action, rtol=0, atol=0)
        own, mixed = own[0, :, 0], mixed[0, :, 0]  # (v, h, s)
        expected = share * own
        expected[:, -1] += (1 - share) * torch.eye(3).double()
        torch.testing.assert_close(mixed, expected, rtol=1e-12, atol=1e-12)


def test_gauss_newton_linearises_without_state_derivatives():
    """With the identity in the place of A_t, dr/da_t is B_t, in the linearisation and through a rollout."""
    whole = toys.problem(3, 5)
    problem = whole.through(StraightThrough(whole.dynamics)).normalised()
    actions = 0.4 * toys.fixed(3, 5, 2, seed=8)
    states = problem.rollout(actions)
    model = linearise(problem, states, actions)
    torch.testing.assert_close(
        model.by_state[:, :, :, 0], torch.eye(3).double().expand(3, 5, 3, 3), rtol=1e-12, atol=1e-12
    )
    own = exact(problem, problem.objective, states, actions).jacobian.unflatten(2, (5, 2))
    torch.testing.assert_close(own, model.by_action[:, :, :, 0].movedim(1, 2), rtol=1e-12, atol=1e-12)
    leaf = actions.clone().requires_grad_()
    ends = problem.rollout(leaf)[:, -1]
    for v in range(3):
        (row,) = torch.autograd.grad(ends[:, v].sum(), leaf, retain_graph=True)
        torch.testing.assert_close(row, own[:, v], rtol=1e-12, atol=1e-12)


class Honest:
    context = 1

    def __call__(self, states, actions):
        return states[:, -1] + 0.1 * actions[:, -1]


class Misleading:
    """The same predictions, but the derivative by the state has the wrong sign."""

    context = 1

    def __call__(self, states, actions):
        return 2.0 * states[:, -1].detach() - states[:, -1] + 0.1 * actions[:, -1]


def test_gradient_descent_is_not_misled_by_wrong_derivatives():
    whole = toys.problem(4, 6, Honest(), latent=2, seed=3)
    start = 0.05 * toys.fixed(4, 6, 2, seed=4)

    def cost(model):
        return plan(whole.through(model), GD(lr=0.1), Budget(steps=40), warm_start=start).cost

    torch.testing.assert_close(cost(StraightThrough(Misleading())), cost(Honest()), rtol=1e-9, atol=0)
    assert (cost(Honest()) < 0.9 * cost(Misleading())).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, True, float("nan")])
def test_shares_that_are_none(share):
    with pytest.raises(GraspPlannerError, match=r"StraightThrough.share must be a number"):
        StraightThrough(toys.Nonlinear(), share)
