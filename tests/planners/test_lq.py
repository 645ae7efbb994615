"""Every planner comes close to the closed-form optimum of a linear-quadratic problem."""

from __future__ import annotations

import lq
import pytest
import torch

import toys
from grasp_planner import CEM, GD, GRASP, ICEM, MPPI, Budget, LatCo, plan


def test_the_closed_form_is_a_minimum():
    problem = lq.problem()
    best, cost = lq.optimum(problem)
    for seed in range(5):
        assert (toys.cost_by_hand(problem, best + 0.01 * toys.fixed(*best.shape, seed=seed)) > cost).all()
    actions = best.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.cost(problem.rollout(actions), actions).sum(), actions)
    assert gradient.abs().max() < 1e-10


# Tolerances on the excess of cost over the optimum, relative to the excess of the start. Gradient descent through the
# rollout is exact to 1e-5 on this problem, and so is Gauss-Newton on a quadratic. First-order LatCo has a stiff
# penalty. Samplers draw in 12 dimensions and narrow their distribution by a constant factor per step; 5e-3 is about
# twice the excess after 60 steps. GRASP moves its virtual states by noise and its actions towards the minimum of the
# lifted loss, so its plan is the result of one sync of 30 (10) serial steps from there.
SETTINGS = {
    "latco gauss-newton": (LatCo(method="gauss_newton", damping=1e-8, multiplier=1e4, score_every=1), 40, 1e-5),
    "latco first order": (LatCo(dual_rate=0.1), 600, 5e-3),
    "cem": (CEM(samples=200, elites=20), 60, 5e-3),
    "icem": (ICEM(samples=200, elites=20, noise_beta=0.5), 60, 5e-3),
    "mppi": (MPPI(samples=200, temperature=0.05), 60, 5e-3),
    "grasp gd": (GRASP(sync=GD(lr=0.1), sync_every=25, sync_steps=30), 4 * 56, 2e-2),
    "grasp cem": (GRASP(sync=CEM(samples=100, elites=10), sync_every=25, sync_steps=10), 4 * 36, 3e-2),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_how_near_the_optimum(name):
    planner, steps, tolerance = SETTINGS[name]
    problem = lq.problem()
    _, least = lq.optimum(problem)
    excess = []
    for seed in range(6):
        found = plan(problem, planner, Budget(steps=steps), seeds=seed)
        excess.append((found.cost - least) / (found.trace.cost[0] - least))
        assert (excess[-1] > -1e-12).all(), "below the minimum"
    assert (torch.stack(excess).median(0).values < tolerance).all(), excess


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_gradient_descent_reaches_the_optimal_actions(optimiser):
    problem = lq.problem(effort=0.5)
    best, least = lq.optimum(problem)
    found = plan(problem, GD(lr=0.05, optimiser=optimiser), Budget(steps=700 if optimiser == "adam" else 300))
    assert (found.actions - best).abs().max() < 1e-5
    torch.testing.assert_close(found.cost, least, rtol=1e-5, atol=1e-8)
