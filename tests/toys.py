"""A few small models and problems with fixed numbers, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from grasp_planner import GoalDistance, Markov, Plan, Problem


def fixed(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal numbers from a generator with a fixed seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def matrices(latent: int = 3, action: int = 2, radius: float = 0.95, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return A (radius times orthogonal) and B of a linear model."""
    rotation, _ = torch.linalg.qr(fixed(latent, latent, seed=seed))
    return radius * rotation, 0.5 * fixed(latent, action, seed=seed + 1)


def linear(latent: int = 3, action: int = 2, radius: float = 0.95, seed: int = 0) -> Markov:
    """Return the model s' = A s + B a."""
    a, b = matrices(latent, action, radius, seed)
    return Markov(lambda state, move: state @ a.to(state).mT + move @ b.to(state).mT)


class Nonlinear(nn.Module):
    """The model s' = s + step * tanh-network of (s, a), in float64, with fixed weights."""

    context = 1

    def __init__(self, latent: int = 3, action: int = 2, width: int = 8, step: float = 0.3, seed: int = 2) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(latent + action, width).double(), nn.Linear(width, latent).double()
        self.step = step
        with torch.no_grad():
            for offset, parameter in enumerate(self.parameters()):
                parameter.copy_(0.7 * fixed(*parameter.shape, seed=seed + offset))

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """(n, 1, s), (n, 1, a) -> (n, s)."""
        state, action = states[:, -1], actions[:, -1]
        return state + self.step * self.outer(torch.tanh(self.inner(torch.cat([state, action], dim=-1))))


class Remembering:
    """A model of context h that reads its whole window, states and actions, nonlinearly."""

    def __init__(self, context: int = 3, latent: int = 3, action: int = 2) -> None:
        self.context = context
        self.push, self.mix = 0.4 * fixed(action, latent, seed=11), fixed(latent, latent, seed=12)
        share = torch.tensor([0.5**age for age in range(context)][::-1], dtype=torch.float64)
        self.share = (share / share.sum())[:, None]

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the next state. The newest state and action have the largest weight, and the oldest the smallest."""
        share = self.share.to(states)
        past, pushed = (share * states).sum(1), (share * actions).sum(1) @ self.push.to(states)
        return 0.9 * states[:, -1] + 0.1 * torch.tanh(past @ self.mix.to(states)) + pushed


def problem(
    batch: int = 4,
    horizon: int = 5,
    model: object | None = None,
    *,
    seed: int = 20,
    latent: int = 3,
    action: int = 2,
    bound: float = 1.0,
    dtype: torch.dtype = torch.float64,
    objective: GoalDistance | None = None,
    scale: Tensor | None = None,
) -> Problem:
    """Make b problems with different starts and goals, and with bounds on the actions."""
    model = Nonlinear(latent, action).to(dtype) if model is None else model
    context = model.context
    return Problem(
        model,
        states=fixed(batch, context, latent, seed=seed, dtype=dtype),
        past_actions=0.3 * fixed(batch, context - 1, action, seed=seed + 1, dtype=dtype),
        goal=fixed(batch, latent, seed=seed + 2, dtype=dtype),
        horizon=horizon,
        low=torch.full((action,), -bound, dtype=dtype),
        high=torch.full((action,), bound, dtype=dtype),
        objective=GoalDistance() if objective is None else objective,
        scale=scale,
    )


def rows(whole: Problem, places: list[int] | Tensor) -> Problem:
    """Return some problems of a batch, in the given order."""
    return Problem(
        whole.dynamics,
        whole.states[places],
        whole.past_actions[places],
        whole.goal[places],
        whole.horizon,
        whole.low,
        whole.high,
        whole.objective,
        whole.scale,
    )


def rollout_by_hand(whole: Problem, actions: Tensor) -> Tensor:
    """Compute a rollout for one problem and one step at a time, with windows cut from plain lists."""
    with torch.no_grad():
        out = []
        for i in range(actions.shape[0]):
            states, taken = list(whole.states[i]), list(whole.past_actions[i])
            h = len(states)
            for action in actions[i]:
                taken.append(action)
                window, blocks = torch.stack(states[-h:]), torch.stack(taken[-h:])
                states.append(whole.dynamics(window[None], blocks[None])[0])
            out.append(torch.stack(states[h:]))
        return torch.stack(out)


def cost_by_hand(whole: Problem, actions: Tensor) -> Tensor:
    """Compute GoalDistance in units of the scale, by the formula of its docstring."""
    objective, states = whole.objective, rollout_by_hand(whole, actions)
    costs = []
    for i in range(actions.shape[0]):
        start, goal = whole.states[i, -1], whole.goal[i]
        if whole.scale is not None:
            unit = whole.scale
        else:
            unit = (goal - start).pow(2).mean().sqrt()
            unit = unit if unit > 0 else goal.pow(2).mean().sqrt()
            unit = unit if unit > 0 else torch.ones_like(unit)
        weights = torch.ones_like(goal) if objective.weights is None else torch.as_tensor(objective.weights).to(goal)
        visited = [start, *states[i]]
        total = (weights * ((visited[-1] - goal) / unit) ** 2).sum()
        for t in range(actions.shape[1]):
            total = total + objective.stage_weight * (weights * ((visited[t] - goal) / unit) ** 2).sum()
            total = total + objective.effort * actions[i, t].pow(2).sum()
        costs.append(total)
    return torch.stack(costs)


def same(first: Plan, second: Plan) -> bool:
    """Return whether two plans are equal to the bit."""
    return (
        torch.equal(first.actions, second.actions)
        and torch.equal(first.states, second.states)
        and torch.equal(first.cost, second.cost)
        and torch.equal(first.status, second.status)
    )


class Slow(Nonlinear):
    """A model that advances a clock, the first entry of ``now``, by 0.01 s in every call."""

    def __init__(self, now: list[float]) -> None:
        super().__init__()
        self.now = now

    def forward(self, states, actions):
        self.now[0] += 0.01
        return super().forward(states, actions)


class Counted:
    """A model that stores its calls: states, actions, the number of rows, and whether gradients were needed.

    Args:
        model: the model that evaluates the rows; ``None``: a small nonlinear model.
        keep: whether states and actions are kept, too.
        before: function of the states that is called before each call. It may advance a clock, or raise.
    """

    def __init__(self, model=None, keep: bool = False, before: Callable[[Tensor], object] | None = None) -> None:
        self.inner = Nonlinear() if model is None else model
        self.context = self.inner.context
        self.keep, self.before = keep, before
        self.rows: list[int] = []
        self.gradients = False
        self.states: list[Tensor] = []
        self.actions: list[Tensor] = []

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Store the call, and evaluate the inner model."""
        if self.before is not None:
            self.before(states)
        self.rows.append(states.shape[0])
        self.gradients |= actions.requires_grad
        if self.keep:
            self.states.append(states.detach().clone())
            self.actions.append(actions.detach().clone())
        return self.inner(states, actions)

    @property
    def calls(self) -> int:
        """The number of calls so far."""
        return len(self.rows)


class Wavy:
    """A model with ripples in the actions, which has smoother versions.

    Attributes:
        rows: the amount of smoothing and the number of rows of each call of the model and of its versions.
    """

    context = 1

    def __init__(self, amount: float = 0.0, rows: list[tuple[float, int]] | None = None) -> None:
        self.amount = amount
        self.rows = [] if rows is None else rows
        self.inner = Nonlinear()

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the next state."""
        self.rows.append((self.amount, len(states)))
        ripples = torch.sin(9 * actions[:, -1]).sum(-1, keepdim=True)
        return self.inner(states, actions) + 0.2 * (1 - self.amount) * ripples

    def smoothed(self, amount: float) -> Wavy:
        """Return the model with lower ripples."""
        return Wavy(amount, self.rows)
