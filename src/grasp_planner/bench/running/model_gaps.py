"""What is measured beside success: gaps between what was believed and what was so, and plans by their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench.running.simulation import Outcome, execute
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.plans import Plan
from grasp_planner.core.world_model import WorldModel, environment_actions
from grasp_planner.planning.protocol import Callback, Lifted, Planner, Progress
from grasp_planner.trust.diagnosis import virtual_from_rollout


class LastIterate:
    """A callback that keeps the planner's last state before it was synced to a rollout, and the problem."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Keep it, unless it was just synced; a state that was is better than none."""
        if progress.state is None:
            return
        if progress.state.scored is None or self.progress is None:
            self.progress = progress


def together(*callbacks: Callback) -> Callback:
    """One callback for several; planning stops when any of them asks for it."""

    def callback(progress: Progress) -> bool:
        return any([one(progress) is True for one in callbacks])

    return callback


def virtual_gap(planner: Planner, last: LastIterate, model: WorldModel) -> list[float | None]:
    """How far virtual states are from the rollout of the actions beside them, for each problem.

        sqrt( mean over t and coordinates of ((s_t - rollout_t) / scale)^2 ),   t = 1 .. T-1

    ``None`` for planners whose states are no variables, and for horizons without virtual states.
    """
    progress = last.progress
    if progress is None:
        return []
    problem = progress.problem.through(model)
    if not isinstance(planner, Lifted) or problem.horizon == 1:
        return [None] * problem.batch
    return virtual_from_rollout(problem, planner, progress.state).square().mean((1, 2)).sqrt().tolist()


def simulator_gap(model: WorldModel, env: Any, plan: Plan, outcomes: Sequence[Outcome]) -> list[float]:
    """How far a plan's rollout in the model is from what the simulator then did, for each problem.

    sqrt( mean over t and coordinates of ((rollout_t - encode(simulator_t)) / scale)^2 ),   t = 1 .. T
    """
    seen = [outcome.states[model.frameskip :: model.frameskip] for outcome in outcomes]
    truth = encoded_states(model, env, np.stack(seen))
    gap = (plan.states - truth) / model.scale
    return gap.square().mean((1, 2)).sqrt().tolist()


def encoded_states(model: WorldModel, env: Any, states: np.ndarray) -> Tensor:
    """Latents (b, t, s) of environment states (b, t, state), each seen by itself."""
    flat = states.reshape(-1, states.shape[-1])
    observations = {"state": flat, "proprio": env.proprio_of(flat)}
    if (size := pixels_of(env)) is not None:
        observations["pixels"] = np.stack([env.picture(state, size) for state in flat])
    with torch.no_grad():
        latents = model.encode({name: value[:, None] for name, value in observations.items()})
    return latents[:, -1].unflatten(0, states.shape[:2])


def pixels_of(env: Any) -> int | None:
    """The side of the pictures that an environment shows; ``None``: it shows none."""
    spaces: Mapping[str, Any] = env.observation_space.spaces
    return spaces["pixels"].shape[0] if "pixels" in spaces else None


def replayed(
    task: Task, episode: Episode, model: WorldModel, plan: Plan, index: int, env: Any
) -> list[dict[str, float | int | bool | None]]:
    """The best plans at every moment that planning kept, each carried out in the simulator, off the clock.

    Args:
        task: the episode's.
        episode: which one.
        model: that it was planned in.
        plan: whose trace is looked at.
        index: the episode's place in the batch.
        env: an environment of the task.
    """
    moments: list[dict[str, float | int | bool | None]] = []
    before: Tensor | None = None
    for snapshot in plan.trace.snapshots:
        actions = snapshot.actions[index]
        if before is not None and torch.equal(actions, before):
            continue
        before = actions
        taken = environment_actions(model, actions).flatten(0, 1).numpy(force=True).astype(np.float64)
        outcome = execute(task, episode, taken, env)
        moments.append(
            {
                "seconds": snapshot.seconds,
                "transitions": snapshot.transitions,
                "step": snapshot.step,
                "cost": float(snapshot.cost[index]),
                "success": outcome.success_end,
            }
        )
    return moments
