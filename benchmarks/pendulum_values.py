"""Short horizons with a learned terminal value on Pendulum-v1, compared with a long horizon in the true dynamics.

From episodes of random torques, the script trains a world model, a reward model and a value function, unless --out
holds them already. It then plans after every environment step with one planner and several horizons, with and without
the value, from the same starts, and prints the mean return of an episode of 200 steps. Standard
errors are in parentheses.

    python benchmarks/pendulum_values.py --out out/pendulum --starts 32
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from rewarded_agents import Worlds, print_table
from torch import Tensor

from grasp_planner import ICEM, Budget, DiscountedReturn, WorldModel
from grasp_planner.data import Episodes
from grasp_planner.models import LearnedReturn, StateModel, StateModelConfig
from grasp_planner.training import Phase, Recipe, ValueRecipe, train, train_value

STEPS = 200  # environment steps in an episode
PLANNER, BUDGET = ICEM(samples=64, elites=8, std=1.0), Budget(steps=5)
RECIPE = Recipe(
    StateModelConfig(state_size=3, action_size=1, frameskip=1, substeps=1, width=64, depth=2, octaves=0),
    steps=4000,
    phases=(Phase(0.7, 1, 256), Phase(0.3, 5, 256)),
    average=0.99,
    horizons=(1, 10, 50),
)


class TruePendulum:
    """The equations of Pendulum-v1 as a world model; a state is (cos, sin, angular velocity), an action is a torque."""

    context = frameskip = 1
    low, high, scale = torch.tensor([-2.0]), torch.tensor([2.0]), torch.tensor([1.0, 1.0, 4.0])

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the next state: the angle is turned by the new velocity in 0.05 s."""
        cos, sin, speed = states[:, -1].unbind(-1)
        speed = (speed + 0.05 * (15.0 * sin + 3.0 * actions[:, -1, 0])).clamp(-8.0, 8.0)
        turned_cos, turned_sin = (0.05 * speed).cos(), (0.05 * speed).sin()
        return torch.stack([cos * turned_cos - sin * turned_sin, sin * turned_cos + cos * turned_sin, speed], dim=-1)

    def encode(self, observations: Mapping[str, Any]) -> Tensor:
        """Return the observed states."""
        return torch.as_tensor(observations["state"]).to(self.low)

    def reward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Return the reward of Pendulum-v1."""
        angle = torch.atan2(states[..., 1], states[..., 0])
        return -(angle.square() + 0.1 * states[..., 2].square() + 0.001 * actions[..., 0].square())


def environments(count: int) -> list[gymnasium.Env]:
    """Make the environments."""
    return [gymnasium.make("Pendulum-v1", disable_env_checker=True) for _ in range(count)]


def random_episodes(count: int, steps: int = 60, held: int = 5) -> Episodes:
    """Collect episodes of random torques, each of which is held for ``held`` environment steps."""
    (env,), random = environments(1), np.random.default_rng(0)
    observations, actions = [], []
    for episode in range(count):
        states, rewards = [env.reset(seed=episode)[0]], [0.0]
        torques = np.repeat(random.uniform(-2, 2, (steps // held, 1)), held, axis=0).astype("float32")
        for torque in torques:
            state, reward, *_ = env.step(torque)
            states.append(state)
            rewards.append(float(reward))
        observations.append({"state": np.array(states), "reward": np.array(rewards)})
        actions.append(torques)
    return Episodes.of(observations, actions)


def learned(out: Path, episodes: int, recipe: ValueRecipe) -> tuple[StateModel, LearnedReturn]:
    """Load the world model, the reward and the value from ``out``; train those that are not there."""
    data = random_episodes(episodes)
    if not (out / "model" / "training.json").exists():
        done = train(RECIPE, data, out / "model", progress=False)
        print(f"world model: {done.seconds:.0f} s, errors {done.errors['state_1']}", flush=True)
    model = StateModel.from_pretrained(out / "model")
    if not (out / "value" / "training.json").exists():
        fitted = train_value(model, data, out / "value", recipe, progress=False)
        print(
            f"reward and value: {fitted.seconds:.0f} s, errors {fitted.reward_error:.3f} of the reward and "
            f"{fitted.value_error:.2f} of the value",
            flush=True,
        )
    return model, LearnedReturn.from_pretrained(out / "value")


def step(env: gymnasium.Env, torque: np.ndarray) -> tuple[np.ndarray, float]:
    """Make a step of Pendulum-v1."""
    state, reward, *_ = env.step(torque)
    return state, float(reward)


def main() -> None:
    """Train what is missing, drive all agents, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/pendulum"), help="folder of the trained networks")
    parser.add_argument("--starts", type=int, default=32, help="number of starts")
    parser.add_argument("--episodes", type=int, default=600, help="number of random episodes of 60 steps to learn from")
    parser.add_argument("--iterations", type=int, default=600, help="iterations of the value")
    given = parser.parse_args()
    torch.set_num_threads(1)
    true = TruePendulum()
    model, networks = learned(given.out, given.episodes, ValueRecipe(iterations=given.iterations))
    valued, alone = networks.objective(), DiscountedReturn(networks.reward, None, 1.0)
    rows: list[tuple[str, WorldModel, DiscountedReturn, int]] = [
        ("true dynamics, reward alone", true, DiscountedReturn(true.reward, None, 1.0), 50)
    ]
    rows += [("learned, reward and value", model, valued, horizon) for horizon in (10, 5, 3)]
    rows += [("learned, greedy on the value", model, valued, 1)]
    rows += [("learned, reward alone", model, alone, horizon) for horizon in (50, 10, 5, 3)]
    worlds = Worlds(environments(given.starts), lambda env, i: env.reset(seed=10_000 + i)[0], step, STEPS)
    print_table(
        (name, horizon, worlds.drive(dynamics, PLANNER, BUDGET, objective, horizon))
        for name, dynamics, objective, horizon in rows
    )


if __name__ == "__main__":
    main()
