"""Measure open-loop errors of a Push-T model under actions that are not in the training data, by kind of action.

    python benchmarks/push_t_model_error.py pusht-state --starts 400

Planners do not act like the policy that collected the data, and gradient planners exploit errors of the model. Episodes
start from random states with the pusher near the block. Actions are within the model's bounds, except for the kind
"beyond". The column "moved" is the distance that the block moved in the simulator.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from grasp_planner import load_world_model
from grasp_planner.domains.push_t.environment import PushT
from grasp_planner.models.state.model import StateModel
from grasp_planner.training.state_learner import push_t_errors

HORIZONS = (5, 25, 50, 80)


def starts(count: int, rng: np.random.Generator) -> np.ndarray:
    """Sample states (n, 7) at rest, with the pusher 30 to 150 px from the block's centre."""
    env, states = PushT(), []
    for _ in range(count):
        state = env.sample_state(rng)
        centre = state[2:4] + 45 * np.array([-np.sin(state[4]), np.cos(state[4])])
        angle = rng.uniform(0, 2 * np.pi)
        state[:2] = centre + rng.uniform(30, 150) * np.array([np.cos(angle), np.sin(angle)])
        states.append(state)
    return np.array(states)


def actions(kind: str, states: np.ndarray, limit: float, rng: np.random.Generator) -> np.ndarray:
    """Sample actions (n, t, 2) of a kind, in environment units."""
    count, steps = len(states), max(HORIZONS)
    noise = rng.uniform(-1, 1, (count, steps, 2))
    if kind == "uniform":
        return limit * noise
    if kind == "blocks":  # the same action for a whole model step
        return limit * np.repeat(noise[:, ::5], 5, axis=1)
    centre = states[:, 2:4] + 45 * np.stack([-np.sin(states[:, 4]), np.cos(states[:, 4])], axis=-1)
    towards = centre - states[:, :2]
    towards = towards / np.linalg.norm(towards, axis=-1, keepdims=True)
    if kind == "push":  # straight at the block for two seconds, then back and forth
        strength = rng.uniform(0.1, 0.5, (count, 1, 1)) * limit
        sign = np.where(np.arange(steps) % 40 < 20, 1.0, -1.0)[:, None]
        return strength * sign * towards[:, None] + 0.05 * noise
    smooth = np.zeros((count, steps, 2))
    current = towards * limit / 2
    for t in range(steps):
        current = 0.85 * current + 0.35 * limit * rng.normal(size=current.shape)
        smooth[:, t] = current
    if kind == "smooth":
        return np.clip(smooth, -limit, limit)
    if kind == "beyond":  # one and a half times the bounds
        return np.clip(1.5 * smooth, -1.5 * limit, 1.5 * limit)
    raise ValueError(kind)


def simulate(states: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return the states (n, t + 1, 7) of the simulator."""
    env, paths = PushT(), []
    for state, move in zip(states, moves):
        env.set_state(state)
        path = [env.get_state()]
        for action in move:
            env.step(action)
            path.append(env.get_state())
        paths.append(path)
    return np.array(paths)


def main() -> None:
    """Print a table for every kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="pusht-state")
    parser.add_argument("--starts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = load_world_model(options.model)
    assert isinstance(model, StateModel)
    limit = float(model.environment_actions(model.high).max())
    print(f"{options.model}: bounds +-{limit:.2f}, {options.starts} starts, seed {options.seed}")
    print("kind       steps   block px mean / median / 90 %    angle deg mean / median / 90 %   moved px")
    for kind in ("uniform", "blocks", "push", "smooth", "beyond"):
        rng = np.random.default_rng(options.seed)
        first = starts(options.starts, rng)
        moves = actions(kind, first, limit, rng)
        truth = torch.tensor(simulate(first, moves), dtype=torch.float32)
        with torch.no_grad():
            units = model.model_actions(torch.tensor(moves, dtype=torch.float32))
            path = model.path(model.encode({"state": truth[:, :1]})[:, 0], units)
        predicted = model.decode_state(path)
        for horizon in HORIZONS:
            errors = push_t_errors(predicted[:, horizon - 1], truth[:, horizon])
            cells = [
                f"{float(e.mean()):9.2f} {float(e.median()):8.2f} {float(e.quantile(0.9)):9.2f}"
                for e in (errors["block_px"], errors["angle_deg"])
            ]
            moved = float((truth[:, horizon, 2:4] - truth[:, 0, 2:4]).norm(dim=-1).mean())
            print(f"{kind:9} {horizon:6}   {cells[0]:32} {cells[1]:32} {moved:6.0f}")


if __name__ == "__main__":
    main()
