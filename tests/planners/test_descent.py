"""One step of SGD and Adam compared with torch's optimisers, and faulty gradients."""

from __future__ import annotations

import pytest
import torch

import toys
from grasp_planner import GraspPlannerError
from grasp_planner.planners.descent import _EPSILON, Moments, descend, with_gradients


def test_adam_equals_torch_adam():
    ours = toys.fixed(4, 3, seed=1)
    theirs = ours.clone().requires_grad_()
    reference = torch.optim.Adam([theirs], lr=0.07, eps=_EPSILON)
    moments = Moments.zeros(ours)
    for step in range(30):
        gradient = toys.fixed(4, 3, seed=100 + step) * 10.0 ** (step % 7 - 3)
        ours, moments = descend("adam", 0.07, ours, gradient, moments)
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-13)
    assert moments.count == 30


def test_sgd_equals_torch_sgd():
    ours = toys.fixed(4, 3, seed=1)
    theirs = ours.clone().requires_grad_()
    reference = torch.optim.SGD([theirs], lr=0.07)
    for step in range(5):
        gradient = toys.fixed(4, 3, seed=100 + step)
        ours, _ = descend("sgd", 0.07, ours, gradient, Moments.zeros(ours))
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_nothing_is_written_to(optimiser):
    parts = [toys.fixed(2, 2, seed=s) for s in range(4)]
    parts[3] = parts[3].square()
    copies = [part.clone() for part in parts]
    for count in (0, 5):
        descend(optimiser, 0.1, parts[0], parts[1], Moments(parts[2], parts[3], count))
    assert all(torch.equal(part, copy) for part, copy in zip(parts, copies))


def test_adam_of_a_zero_gradient_moves_nothing():
    start = toys.fixed(3, seed=1)
    moved, _ = descend("adam", 0.1, start, torch.zeros(3, dtype=torch.float64), Moments.zeros(start))
    assert torch.equal(moved, start)


def test_adam_does_not_see_the_size_of_a_gradient():
    start, gradient = torch.zeros(5, dtype=torch.float64), toys.fixed(5, seed=3)
    large, _ = descend("adam", 0.1, start, 1e4 * gradient, Moments.zeros(start))
    small, _ = descend("adam", 0.1, start, 1e-4 * gradient, Moments.zeros(start))
    torch.testing.assert_close(large, small, rtol=1e-6, atol=1e-9)


def test_gradients_of_rows_are_each_rows_own():
    x, y = toys.fixed(3, 2, seed=1), toys.fixed(3, 4, 2, seed=2)
    (gx, gy), by_product = with_gradients(lambda x, y: ((x**3).sum(1) + y.square().sum((1, 2)), "seen"), x, y)
    torch.testing.assert_close(gx, 3 * x**2)
    torch.testing.assert_close(gy, 2 * y)
    assert by_product == "seen" and not x.requires_grad


def test_a_variable_that_does_not_matter_has_a_zero_gradient():
    x, y = toys.fixed(3, 2, seed=1), toys.fixed(3, 2, seed=2)
    (_, gy), _ = with_gradients(lambda x, y: (x.sum(1), None), x, y)
    assert torch.equal(gy, torch.zeros_like(y))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_spoils_its_row_whatever_its_gradient(bad):
    def loss(x):
        total = x.square().sum(1)
        return torch.where(torch.arange(3) == 1, bad, total), None  # the gradient of a constant is zero, and finite

    x = toys.fixed(3, 2, seed=1)
    (gradient,), _ = with_gradients(loss, x)
    assert gradient[1].isnan().all()
    torch.testing.assert_close(gradient[[0, 2]], 2 * x[[0, 2]])


def test_an_infinite_gradient_is_not_a_number_and_not_a_step_onto_a_bound():
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    (gradient,), _ = with_gradients(lambda x: (x.sqrt().sum(1), None), x)
    assert gradient[0, 0].isnan() and torch.isfinite(gradient[0, 1]) and torch.isfinite(gradient[1]).all()


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: x.detach().sum(1),
        lambda x: torch.zeros(3, dtype=torch.float64),
        lambda x: torch.from_numpy(x.detach().numpy() ** 2).sum(1),
    ],
)
def test_a_loss_that_autograd_cannot_see_through_is_named(loss):
    with pytest.raises(GraspPlannerError, match="does not depend on the actions"):
        with_gradients(lambda x: (loss(x), None), toys.fixed(3, 2, seed=1))
