"""Measure how far a small change of the state moves the prediction towards the goal, compared with the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import decoded
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.frozen import frozen
from grasp_planner.core.world_model import WorldModel


@dataclass(frozen=True)
class Adversarial:
    """The effect of a small change of the state, with the idle action. Medians over problems.

    Attributes:
        sizes: root mean square of the change over coordinates, in units of the scale.
        gradient: distance from the prediction to the goal after a change along its gradient, relative to no change.
        chance: the same distance after a change in a random direction.
        truth: distance from the simulator's next state to the goal if the simulator starts at the decoded changed
            state, relative to no change; ``None`` if the simulator has no such state; empty for models that do not
            decode states.
        impossible: share of the problems whose decoded changed state is impossible, for example inside a wall.
    """

    sizes: tuple[float, ...]
    gradient: tuple[float, ...]
    chance: tuple[float, ...]
    truth: tuple[float | None, ...]
    impossible: tuple[float, ...]


def adversarial(
    task: Task,
    model: WorldModel,
    episodes: Sequence[Episode],
    *,
    sizes: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    pixels: int | None = None,
    seed: int = 0,
) -> Adversarial:
    """Change the state by several lengths down the gradient of |F(s, 0) - g|^2; the action stays idle.

    Args:
        task: task of the episodes.
        model: the world model. If its context is larger than 1, only the newest state is changed.
        episodes: episodes with starts and goals.
        sizes: sizes of the change, root mean square over coordinates, in units of the scale.
        pixels: side of the pictures that the model reads; ``None`` if it reads no pictures.
        seed: seed of the random directions.
    """
    one = replace(problem_of(task, model, episodes, pixels=pixels), horizon=1).normalised()
    idle = one.clamp(one.start.new_zeros(one.batch, 1, one.action_size))

    def distance(moved: Tensor) -> Tensor:
        return one.objective.terminal(one.predict(moved[:, None], idle)[:, 0], one.goal)

    gradient: list[float] = []
    chance: list[float] = []
    real: list[np.ndarray] = []
    with frozen(one.dynamics, one.objective):
        start = one.start.detach().requires_grad_()
        with torch.enable_grad():
            before = distance(start)
            (slope,) = torch.autograd.grad(before.sum(), start)
        generator = torch.Generator().manual_seed(seed)
        random = torch.randn(slope.shape, generator=generator).to(slope)
        with torch.no_grad():
            for size in sizes:
                down = start - size * _unit_size(slope)
                side = start - size * _unit_size(random)
                for moved, found in ((down, gradient), (side, chance)):
                    found.append(float((distance(moved) / before).clamp(min=0).sqrt().median()))
                real += _true_distances(task, model, episodes, down * one.unit, start * one.unit)
    truth = tuple(None if np.isnan(one).all() else float(np.nanmedian(one)) for one in real)
    impossible = tuple(float(np.isnan(one).mean()) for one in real)
    return Adversarial(tuple(sizes), tuple(gradient), tuple(chance), truth, impossible)


def _unit_size(direction: Tensor) -> Tensor:
    return direction / direction.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)


def _true_distances(
    task: Task, model: WorldModel, episodes: Sequence[Episode], moved: Tensor, start: Tensor
) -> list[np.ndarray]:
    """Return the distances (b,) from simulator to goals after an idle model step, relative to those without change.

    The list is empty if the model does not decode states. An entry is NaN if the decoded state is impossible.
    """
    there, here = decoded(model, moved.detach()), decoded(model, start.detach())
    if there is None or here is None:
        return []
    env, ratios = task.make(), []
    still = np.zeros((model.frameskip, env.action_space.shape[0]))

    def measured(episode: Episode, state: np.ndarray) -> float:
        try:
            end = execute(task, replace(episode, start=state), still, env).states[-1]
        except GraspPlannerError:
            return float("nan")
        return float(next(iter(task.distances(end, episode.goal).values())))

    for episode, far, near in zip(episodes, there, here, strict=True):
        ratios.append(measured(episode, far) / max(measured(episode, near), 1e-9))
    return [np.array(ratios)]
