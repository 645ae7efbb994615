"""Helpers for tests of GRASP: its states after every step, and its first state."""

from __future__ import annotations

import torch

from grasp_planner import Budget, plan
from grasp_planner.core.noise import Noise
from grasp_planner.planners.grasp import GRASPState

ONES = torch.ones(3, dtype=torch.float64)
NEVER = 10**6


def states_of(problem, planner, steps, **rest) -> list[GRASPState]:
    """Return the planner's state at the start (None) and after every step."""
    seen = []
    plan(problem, planner, Budget(steps=steps), seeds=1, callback=lambda p: seen.append(p.state), **rest)
    return seen


def begun(problem, planner, actions=None) -> GRASPState:
    """Return the first state of GRASP for a normalised problem."""
    shape = (problem.batch, problem.horizon, problem.action_size)
    actions = torch.zeros(shape, dtype=torch.float64) if actions is None else actions
    return planner.init(problem, actions, Noise.of(1, problem.batch))


def after(planner, problem, state, noise, steps=1) -> GRASPState:
    """Return the state after ``steps`` further steps."""
    for k in range(steps):
        state, _ = planner.step(problem, state, noise.fold(k) if steps > 1 else noise)
    return state
