"""Gradient norm and curvature of the rollout loss and of the lifted loss, as functions of the horizon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from grasp_planner.core.dynamics import Markov
from grasp_planner.core.frozen import frozen
from grasp_planner.core.noise import Noise
from grasp_planner.core.problem import Problem
from grasp_planner.planners.lifted import lifted_loss, straight_line

Loss = Callable[[Tensor], Tensor]
"""A function of variables (b, n) to losses (b,). The loss of a row depends only on this row."""

STEPS = 12  # steps of the power iteration; enough for eigenvalues on a logarithmic axis


@dataclass(frozen=True)
class Growth:
    """Gradients and curvatures of the rollout loss and of the lifted loss at several horizons. Medians over problems.

    Attributes:
        name: name of the model.
        horizons: horizons T in model steps.
        shooting_gradient: |dL/da| of the rollout's cost.
        shooting_curvature: eigenvalue of largest absolute value of the Hessian of the rollout's cost.
        lifted_gradient: |dL/d(s, a)| of the lifted loss, states in units of the scale.
        lifted_curvature: eigenvalue of largest absolute value of the Hessian of the lifted loss.
        shooting_theory: ``shooting_curvature`` in closed form, for linear dynamics; empty otherwise.
        lifted_bound: upper bound of ``lifted_curvature`` for linear dynamics; empty otherwise. The bound is
            2 (1 + |A| + |B|)^2 + 2 gamma (|A| + |B|)^2.
    """

    name: str
    horizons: tuple[int, ...]
    shooting_gradient: tuple[float, ...]
    shooting_curvature: tuple[float, ...]
    lifted_gradient: tuple[float, ...]
    lifted_curvature: tuple[float, ...]
    shooting_theory: tuple[float, ...] = ()
    lifted_bound: tuple[float, ...] = ()


def growth(
    name: str, problem: Problem, horizons: Sequence[int], *, goal_weight: float = 0.1, std: float = 0.3, seed: int = 0
) -> Growth:
    """Measure both losses of some problems at several horizons.

    Gradients of the lifted loss flow through the model's state input, because the bound is for that loss. GRASP stops
    these gradients. Actions are drawn at random. Virtual states lie on the line from start to goal, where GRASP starts.

    Args:
        name: name of the model.
        problem: problems with starts and goals. Their horizon is not used.
        horizons: horizons in model steps.
        goal_weight: gamma.
        std: standard deviation of the random actions, in action units.
        seed: seed of the actions.
    """
    columns: list[tuple[float, float, float, float]] = []
    with frozen(problem.dynamics, problem.objective):
        for horizon in horizons:
            here = replace(problem, horizon=horizon).normalised()
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(here.batch, horizon, here.action_size, generator=generator, dtype=here.start.dtype)
            actions = here.clamp(std * noise.to(here.start.device))
            states = straight_line(here, 0.0, Noise.of(seed, here.batch, here.start.device))
            shooting = actions.flatten(1)
            lifted = torch.cat([states.flatten(1), shooting], dim=1)
            columns.append(
                (
                    *_measured(_shooting_loss(here), shooting),
                    *_measured(_lifted(here, goal_weight), lifted),
                )
            )
    first, second, third, fourth = zip(*columns, strict=True)
    return Growth(name, tuple(horizons), first, second, third, fourth)


def linear_growth(rho: float, horizons: Sequence[int], *, goal_weight: float = 0.1, seed: int = 0) -> Growth:
    """Measure both losses for s' = A s + B a, where A is rho times a rotation, and compute what theory predicts.

    The rollout's cost is |C a + ..|^2 with C = (A^(T-1) B, .., A B, B). Its Hessian is 2 C' C, which grows like
    rho^(2T). The lifted loss is a sum of squares of banded rows, so its largest eigenvalue has a bound without T.

    Both facts are derived for this project. The paper analyses the conditioning in its appendix.
    """
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    a = rho * rotation
    b = torch.randn(6, 2, generator=generator, dtype=torch.float64) / 2
    start, goal = (torch.randn(1, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    free, ones = torch.full((2,), torch.inf, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    step: Any = Markov(lambda state, action: state @ a.mT + action @ b.mT)
    problem = Problem.between(step, start, goal, 2, -free, free, scale=ones)
    found = growth(f"linear, rho = {rho:g}", problem, horizons, goal_weight=goal_weight, seed=seed)
    size_a, size_b = (float(torch.linalg.matrix_norm(one, 2)) for one in (a, b))
    bound = 2 * (1 + size_a + size_b) ** 2 + 2 * goal_weight * (size_a + size_b) ** 2
    theory = []
    for horizon in horizons:
        powers = [torch.linalg.matrix_power(a, k) @ b for k in range(horizon)]
        theory.append(2 * float(torch.linalg.matrix_norm(torch.cat(powers, dim=1), 2)) ** 2)
    return replace(found, shooting_theory=tuple(theory), lifted_bound=(bound,) * len(horizons))


def curvature(loss: Loss, at: Tensor, steps: int = STEPS) -> Tensor:
    """Compute the eigenvalue of largest absolute value of each row's Hessian, (b,).

    The method is power iteration on Hessian-vector products.


    >>> squares = torch.tensor([1.0, 3.0])
    >>> curvature(lambda x: (squares * x**2).sum(1), torch.ones(1, 2), steps=30)
    tensor([6.])
    """
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(at.shape, generator=generator, dtype=at.dtype).to(at.device)
    variable = at.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(variable).sum(), variable, create_graph=True)
    size = at.new_zeros(len(at))
    for _ in range(steps):
        direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=torch.finfo(at.dtype).tiny)
        (product,) = torch.autograd.grad(gradient, variable, direction, retain_graph=True)
        size, direction = product.norm(dim=1), product
    return size


def _measured(loss: Loss, at: Tensor) -> tuple[float, float]:
    variable = at.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(variable).sum(), variable)
    return float(gradient.norm(dim=1).median()), float(curvature(loss, at).median())


def _shooting_loss(problem: Problem) -> Loss:
    def loss(flat: Tensor) -> Tensor:
        actions = flat.unflatten(1, (problem.horizon, -1))
        return problem.cost(problem.rollout(actions), actions)

    return loss


def _lifted(problem: Problem, goal_weight: float) -> Loss:
    count = (problem.horizon - 1) * problem.goal.shape[1]

    def loss(flat: Tensor) -> Tensor:
        states = flat[:, :count].unflatten(1, (problem.horizon - 1, -1))
        actions = flat[:, count:].unflatten(1, (problem.horizon, -1))
        return lifted_loss(problem, states, actions, goal_weight, stop_gradient=False)

    return loss
