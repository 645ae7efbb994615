"""What tests of GRASP share: its states after every step, and a model that keeps what it is called with."""

from __future__ import annotations

import torch
from torch import Tensor

import toys
from grasp_planner import Budget, plan
from grasp_planner.planners.grasp import GRASPState

ONES = torch.ones(3, dtype=torch.float64)
NEVER = 10**6


def states_of(problem, planner, steps, **rest) -> list[GRASPState]:
    """The planner's state at the start and after every step."""
    seen = []
    plan(problem, planner, Budget(steps=steps), seeds=1, callback=lambda p: seen.append(p.state), **rest)
    return seen


class Counted:
    """Keeps the windows it is called with."""

    def __init__(self, model=None) -> None:
        self.inner = toys.Nonlinear() if model is None else model
        self.context = self.inner.context
        self.states: list[Tensor] = []
        self.actions: list[Tensor] = []

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        self.states.append(states.detach().clone())
        self.actions.append(actions.detach().clone())
        return self.inner(states, actions)

    @property
    def rows(self) -> list[int]:
        return [states.shape[0] for states in self.states]
