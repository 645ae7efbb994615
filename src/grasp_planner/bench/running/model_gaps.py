"""Gaps between virtual states, rollouts in the model, and the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench.running.simulation import Outcome
from grasp_planner.core.plans import Plan
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planning.protocol import Planner, Progress
from grasp_planner.trust.diagnosis import virtual_from_rollout


class LastVirtualStates:
    """A callback for ``plan`` that keeps the progress after the last lifted step (a step without rollout)."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Keep this progress unless the last step rolled actions out. The first progress is always kept."""
        if progress.state is None:
            return
        if self.progress is None or not progress.rolled_out:
            self.progress = progress


def virtual_gap(planner: Planner, last: LastVirtualStates, model: WorldModel) -> list[float | None]:
    """Return the root mean square distance between the virtual states and the rollout of the actions, for each problem.

        sqrt( mean over t and coordinates of ((s_t - rollout_t) / scale)^2 ),   t = 1 .. T-1

    ``None`` for planners without virtual states, and for a horizon of one model step.
    """
    progress = last.progress
    if progress is None:
        return []
    problem = progress.problem.through(model)
    gap = None if problem.horizon == 1 else virtual_from_rollout(problem, planner, progress.state)
    return [None] * problem.batch if gap is None else gap.square().mean((1, 2)).sqrt().tolist()


def simulator_gap(model: WorldModel, env: Any, plan: Plan, outcomes: Sequence[Outcome]) -> list[float]:
    """Return the root mean square distance between a plan's rollout in the model and the simulator, for each problem.

    sqrt( mean over t and coordinates of ((rollout_t - encode(simulator_t)) / scale)^2 ),   t = 1 .. T
    """
    seen = [outcome.states[model.frameskip :: model.frameskip] for outcome in outcomes]
    truth = encoded_states(model, env, np.stack(seen))
    gap = (plan.states - truth) / model.scale
    return gap.square().mean((1, 2)).sqrt().tolist()


def encoded_states(model: WorldModel, env: Any, states: np.ndarray) -> Tensor:
    """Return the latents (b, t, s) of environment states (b, t, state); each state is encoded separately."""
    flat = states.reshape(-1, states.shape[-1])
    observations = {"state": flat, "proprio": env.proprio_of(flat)}
    if (size := pixels_of(env)) is not None:
        observations["pixels"] = np.stack([env.picture(state, size) for state in flat])
    with torch.no_grad():
        latents = model.encode({name: value[:, None] for name, value in observations.items()})
    return latents[:, -1].unflatten(0, states.shape[:2])


def pixels_of(env: Any) -> int | None:
    """Return the side of the pictures in an environment's observations; ``None`` if it draws no pictures."""
    spaces: Mapping[str, Any] = env.observation_space.spaces
    return spaces["pixels"].shape[0] if "pixels" in spaces else None
