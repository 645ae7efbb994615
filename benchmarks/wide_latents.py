"""How many products does GaussNewton need in a wide latent? Push-T, with 128 random features added to the state.

    python benchmarks/wide_latents.py --episodes 48

The latent has 136 coordinates: the 8 numbers of ``pusht-state`` and 128 nonlinear features of the pose of block and
pusher, which the objective weighs like the others. Every row has the same rollouts for each plan. The script prints
success in the simulator, the median cost relative to the start's, and the processor time for each plan.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_planner import Budget, GaussNewton, MultiStart, Planner, load_world_model, recommended
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task

FEATURES, HORIZON = 128, 60
BATCH = 16  # episodes at a time, so that exact Jacobians fit into the memory limit of GaussNewton
PRODUCTS = (1, 2, 4, 8, 16, 32, 64, 136)


class Wide:
    """A model of states s as a model of latents (s, tanh(W s)), whose features cannot be left by an action."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.context, self.frameskip = inner, inner.context, inner.frameskip
        self.low, self.high = inner.low, inner.high
        self.narrow = len(inner.scale)
        self.counted = torch.as_tensor(inner.goal_weights) > 0
        generator = torch.Generator().manual_seed(0)
        self.mix = torch.randn(int(self.counted.sum()), FEATURES, generator=generator)
        self.scale = torch.ones(self.narrow + FEATURES)
        self.goal_weights = torch.cat([torch.as_tensor(inner.goal_weights), torch.ones(FEATURES) / FEATURES])

    def lifted(self, states: Tensor) -> Tensor:
        """Add the features to states (..., s)."""
        return torch.cat([states, torch.tanh(states[..., self.counted] @ self.mix)], dim=-1)

    def encode(self, observations: Any) -> Tensor:
        """Encode as the inner model does, and add the features."""
        return self.lifted(self.inner.encode(observations))

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the next latent from the states in the windows."""
        return self.lifted(self.inner(states[..., : self.narrow], actions))

    def environment_actions(self, actions: Tensor) -> Tensor:
        """Convert actions as the inner model does."""
        return self.inner.environment_actions(actions)

    def model_actions(self, actions: Tensor) -> Tensor:
        """Convert actions as the inner model does."""
        return self.inner.model_actions(actions)


def main() -> None:
    """Print one row for each number of products."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--rollouts", type=int, default=300, help="for each plan")
    parser.add_argument("--products", nargs="*", type=int, default=list(PRODUCTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, at = Wide(load_world_model("pusht-state")), task("push_t/dset/v2", HORIZON)
    chosen = episodes(at, "validation", given.episodes)
    whole = recommended()
    assert isinstance(whole, MultiStart) and isinstance(whole.planner, GaussNewton)
    rows: dict[str, Planner] = {
        str(k): dataclasses.replace(whole, planner=dataclasses.replace(whole.planner, products=k))
        for k in given.products
    }
    print("| products | success in % | cost / cost of the start | processor s |\n|---|---:|---:|---:|", flush=True)
    for name, planner in rows.items():
        began = time.process_time()
        budget = Budget(transitions=given.rollouts * HORIZON // model.frameskip)
        parts = [evaluate(at, model, planner, budget, chosen[i : i + BATCH]) for i in range(0, len(chosen), BATCH)]
        seconds = (time.process_time() - began) / len(chosen)
        success = np.concatenate([part.success for part in parts]).mean()
        left = float(torch.cat([part.plan.cost / part.plan.trace.cost[0] for part in parts]).median())
        print(f"| {name} | {100 * success:.0f} | {left:.4f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
