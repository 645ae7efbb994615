"""Small data sets with known dynamics, made in memory."""

import numpy as np

from grasp_planner.data import Episodes
from grasp_planner.models.state.model import StateModelConfig
from grasp_planner.training import Phase, Recipe


def cart(episodes: int = 20, steps: int = 30, seed: int = 0) -> Episodes:
    """Return episodes of a point on a line with a force and nonlinear drag: state (x, v), one action."""
    rng = np.random.default_rng(seed)
    states, actions = [], []
    for _ in range(episodes):
        state, path, pushes = rng.normal(size=2), [], rng.uniform(-1, 1, (steps, 1))
        for push in pushes:
            path.append(state)
            x, v = state
            state = np.array([x + 0.1 * v, v + 0.2 * push[0] - 0.1 * v * abs(v)])
        states.append({"state": np.array([*path, state])})
        actions.append(pushes)
    return Episodes.of(states, actions)


def push_t_like(episodes: int = 12, steps: int = 25, seed: int = 0) -> Episodes:
    """Return episodes with Push-T's sizes, with a linear pusher and a block that does not move."""
    rng = np.random.default_rng(seed)
    states, actions = [], []
    for _ in range(episodes):
        state = np.array([*rng.uniform(50, 450, 2), *rng.uniform(150, 350, 2), rng.uniform(0, 6), 0, 0])
        path, pushes = [state], rng.normal(0, 0.2, (steps, 2))
        for push in pushes:
            state = state.copy()
            state[:2] += 0.05 * state[5:] + 30 * push
            state[5:] = 0.2 * state[5:] + 300 * push
            path.append(state)
        states.append({"state": np.array(path)})
        actions.append(pushes)
    return Episodes.of(states, actions)


CART = Recipe(
    model=StateModelConfig(state_size=2, action_size=1, frameskip=5, width=16, depth=2, octaves=1),
    steps=40,
    phases=(Phase(0.5, 1, 64), Phase(0.5, 10, 16)),
    lr=1e-2,
    validation=0.2,
    horizons=(5, 10),
)
