"""Short horizons with a learned terminal value on PointMaze with a dense reward, compared with a policy alone.

The reward of an environment step is exp(-distance), where the distance is that of the ball to a fixed place at one end
of the maze, in m: the straight line, which leads into the wall from the other end. From episodes of random actions, the
script learns a reward, a value and a goal-conditioned policy for the packaged world model, unless --out holds them
already. An episode has 100 environment steps, and all agents have the same starts.

    python benchmarks/point_maze_values.py --out out/point_maze_values --starts 32
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import torch
from rewarded_agents import Driven, Worlds, print_table

import grasp_planner.domains  # noqa: F401  (registers the environment)
from grasp_planner import ICEM, Budget, DiscountedReturn, WorldModel, load_world_model
from grasp_planner.core.world_model import environment_actions
from grasp_planner.data import Episodes, collect, read
from grasp_planner.models import LearnedPolicy, LearnedReturn
from grasp_planner.training import PolicyRecipe, ValueRecipe, train_policy, train_value

PLACE = np.array([0.8, 0.8])  # m, one end of the maze
DECISIONS = 20  # model steps of 5 environment steps in an episode
PLANNER, BUDGET = ICEM(samples=64, elites=8, std=1.0), Budget(steps=5)
LONG, SHORT = 20, (10, 5, 3)  # horizons in model steps


def reward(states: np.ndarray) -> np.ndarray:
    """Return the dense reward (...) of states (..., 4)."""
    return np.exp(-np.linalg.norm(states[..., :2] - PLACE, axis=-1))


def collected(count: int, out: Path) -> Episodes:
    """Collect episodes of random actions that are missing, and add the rewards."""
    episodes = read(collect("point_maze", count, out / "data", seed=7, workers=1, progress=False), keys=("state",))
    return replace(episodes, observations={**episodes.observations, "reward": reward(episodes.array("state"))})


def step(env: gymnasium.Env, action: np.ndarray) -> tuple[np.ndarray, float]:
    """Make a step of PointMaze with the dense reward."""
    state = env.step(action)[0]["state"]
    return state, float(reward(state))


def follow(worlds: Worlds, model: WorldModel, policy: LearnedPolicy) -> Driven:
    """Run the policy without planning; its goal is the place of the largest reward, at rest."""
    goal = model.encode({"state": np.concatenate([PLACE, [0.0, 0.0]])[None, None]})[:, -1]

    def act(here: np.ndarray, decision: int) -> np.ndarray:
        with torch.no_grad():
            states = model.encode({"state": here[:, None]})[:, -1]
            actions = policy(states, goal.expand(len(states), -1), max(1, policy.config.horizon - decision))
        return environment_actions(model, actions.clamp(model.low, model.high)).numpy()

    return Driven(worlds.play(act))


def main() -> None:
    """Learn what is missing, drive all agents, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/point_maze_values"), help="folder of data and networks")
    parser.add_argument("--starts", type=int, default=32, help="number of starts")
    parser.add_argument("--collected", type=int, default=1000, help="number of random episodes to learn from")
    parser.add_argument("--iterations", type=int, default=300, help="iterations of the value")
    parser.add_argument("--updates", type=int, default=10_000, help="optimiser steps of the policy")
    parser.add_argument("--decisions", type=int, default=DECISIONS, help="model steps of an episode")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, model = collected(given.collected, given.out), load_world_model("pointmaze-state")
    if not (given.out / "value" / "training.json").exists():
        recipe = ValueRecipe(discount=0.95, iterations=given.iterations, states=256)
        fitted = train_value(model, data, given.out / "value", recipe, progress=False)
        print(f"reward and value: {fitted.seconds:.0f} s, error {fitted.reward_error:.3f} of the reward", flush=True)
    if not (given.out / "policy" / "training.json").exists():
        recipe = PolicyRecipe(horizon=DECISIONS, steps=given.updates)
        taught = train_policy(model, data, given.out / "policy", recipe, progress=False)
        print(f"policy: {taught.seconds:.0f} s", flush=True)
    networks = LearnedReturn.from_pretrained(given.out / "value")
    policy = LearnedPolicy.from_pretrained(given.out / "policy")
    valued, alone = networks.objective(), DiscountedReturn(networks.reward, None, 1.0)
    envs = [gymnasium.make("grasp_planner/PointMaze-v1", disable_env_checker=True) for _ in range(given.starts)]
    worlds = Worlds(envs, lambda env, i: env.reset(seed=10_000 + i)[0]["state"], step, given.decisions)

    def agents() -> Iterator[tuple[str, int | None, Driven]]:
        yield "reward alone", LONG, worlds.drive(model, PLANNER, BUDGET, alone, LONG)
        for horizon in SHORT:
            yield "reward and value", horizon, worlds.drive(model, PLANNER, BUDGET, valued, horizon)
        yield "greedy on the value", 1, worlds.drive(model, PLANNER, BUDGET, valued, 1)
        for horizon in SHORT:
            yield "reward alone", horizon, worlds.drive(model, PLANNER, BUDGET, alone, horizon)
        yield "policy alone", None, follow(worlds, model, policy)

    print_table(agents())


if __name__ == "__main__":
    main()
