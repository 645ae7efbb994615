"""Lifted planning across a wall, with and without gradients through the model's state input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_planner.core.plans import Budget
from grasp_planner.domains.ball_nav.physics import RADIUS, walls_of
from grasp_planner.models.ball_nav import BallNav
from grasp_planner.planners.grasp import GRASP
from grasp_planner.planning.loop import run
from grasp_planner.planning.protocol import Progress

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class WallCrossing:
    """Virtual states and rollouts across a wall, for each planner.

    Attributes:
        walls: (w, 2, 2) end points of the walls in m.
        start: (2,) start in m.
        goal: (2,) goal in m.
        virtual: planner's name -> (T + 1, 2) the virtual states after the last lifted step, in m.
        rollout: planner's name -> (T + 1, 2) the rollout of the plan, in m.
        crossed: planner's name -> share of the problems whose virtual states pass through a wall.
        reached: planner's name -> share of the problems whose rollout ends at the goal.
    """

    walls: tuple[Points, ...]
    start: tuple[float, float]
    goal: tuple[float, float]
    virtual: dict[str, Points]
    rollout: dict[str, Points]
    crossed: dict[str, float]
    reached: dict[str, float]


def wall_crossing(
    *, map: str = "wall", horizon: int = 12, batch: int = 16, steps: int = 400, seed: int = 0
) -> WallCrossing:
    """Plan on BallNav with state gradients and without syncs, and with GRASP, on the same problems.

    With state gradients and without syncs, states and actions converge to the straight line through the wall. The
    defect of the impossible step is spread over its neighbours, so the total defect is small. No rollout follows this
    line.

    Args:
        map: map of BallNav.
        horizon: horizon in model steps.
        batch: number of problems.
        steps: number of planner steps.
        seed: seed of the problems.
    """
    model = BallNav(map)
    problem = model.problem(batch, horizon, seed=seed)
    planners = {
        "state gradients": GRASP(stop_gradient=False, state_noise=0.0, sync=None, sync_every=steps, state_lr=0.05),
        "GRASP": GRASP(),
    }
    virtual, rollout, crossed, reached = {}, {}, {}, {}
    walls = walls_of(map).reshape(-1, 2, 2)
    for name, planner in planners.items():
        kept: list[Tensor] = []

        def keep(progress: Progress, kept: list[Tensor] = kept, planner: GRASP = planner) -> None:
            if progress.state is not None and not progress.rolled_out:
                kept[:] = [planner.virtual(progress.state) * progress.problem.unit[:, None]]

        found = run(problem, planner, Budget(steps=steps), seeds=list(range(batch)), callback=keep)
        states = torch.cat([problem.start[:, None], kept[0], problem.goal[:, None]], dim=1).numpy(force=True)
        paths = torch.cat([problem.start[:, None], found.states], dim=1).numpy(force=True)
        crossed[name] = float(np.mean([_crosses(one, walls) for one in states]))
        reached[name] = float(np.mean(np.linalg.norm(paths[:, -1] - problem.goal.numpy(force=True), axis=1) <= RADIUS))
        virtual[name], rollout[name] = _points(states[0]), _points(paths[0])
    start, goal = (_points(one[:1].numpy(force=True))[0] for one in (problem.start, problem.goal))
    return WallCrossing(tuple(_points(wall) for wall in walls), start, goal, virtual, rollout, crossed, reached)


def _crosses(path: np.ndarray, walls: np.ndarray) -> bool:
    """Return whether any step of a path (t, 2) passes through a wall."""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])

    p, q = path[:-1, None], path[1:, None]
    u, v = walls[None, :, 0], walls[None, :, 1]
    return bool(((side(p, q, u) * side(p, q, v) < 0) & (side(u, v, p) * side(u, v, q) < 0)).any())


def _points(array: np.ndarray) -> Points:
    return tuple((float(x), float(y)) for x, y in array)
