"""Diagnostics: claims about planning over long horizons, made visible on a model at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench.running.model_gaps import encoded_states
from grasp_planner.bench.running.open_loop import decoded, observe, problem_of
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.frozen import frozen
from grasp_planner.core.plans import Budget
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import WorldModel
from grasp_planner.domains.ball_nav.world import RADIUS, walls_of
from grasp_planner.models.ball_nav import BallNav
from grasp_planner.planners.gd import GD
from grasp_planner.planners.grasp import GRASP
from grasp_planner.planners.lifted import lifted_loss
from grasp_planner.planners.recommended import plan


@dataclass(frozen=True)
class Landscape:
    """Both losses around a plan, on two random directions.

    Attributes:
        at: (k,) where along each direction, in units of the variables.
        shooting: (k, k) cost of the rollout, when actions move.
        lifted: (k, k) lifted loss, when actions and virtual states move.
        horizon: model steps.
    """

    at: tuple[float, ...]
    shooting: tuple[tuple[float, ...], ...]
    lifted: tuple[tuple[float, ...], ...]
    horizon: int


@dataclass(frozen=True)
class GoalPaths:
    """How far from the goal one is along ways that are known to reach it.

    Attributes:
        steps: environment steps at which it is looked.
        cost: (n, k) the planner's own measure of the distance, relative to the start.
        away: share of the steps that lead away from the goal by that measure.
        farther: (n,) the largest distance on the way, relative to the start.
    """

    steps: tuple[int, ...]
    cost: tuple[tuple[float, ...], ...]
    away: float
    farther: tuple[float, ...]


@dataclass(frozen=True)
class Adversarial:
    """What a small step of the state, with no action at all, does to the prediction. Medians over problems.

    Attributes:
        sizes: root mean square of the step over coordinates, in units of the scale.
        gradient: distance from the prediction to the goal after a step down its gradient, relative to no step.
        chance: the same after a step in a random direction.
        truth: distance that the simulator arrives at from the state that the model would read there, relative to
            no step; ``None`` where no such state exists, empty where the model does not decode states.
        impossible: share of the problems in which the simulator has no such state: outside of its walls, say.
    """

    sizes: tuple[float, ...]
    gradient: tuple[float, ...]
    chance: tuple[float, ...]
    truth: tuple[float | None, ...]
    impossible: tuple[float, ...]


@dataclass(frozen=True)
class Cutting:
    """Lifted planning across a wall, with and without gradients to the states.

    Attributes:
        walls: (w, 2, 2) end points, m.
        start: (2,) m.
        goal: (2,) m.
        virtual: by name, (T + 1, 2) the states as variables.
        rollout: by name, (T + 1, 2) where the actions lead.
        crossed: by name, share of the problems whose virtual states pass through a wall.
        reached: by name, share of the problems whose rollout ends at the goal.
    """

    walls: tuple[tuple[tuple[float, float], ...], ...]
    start: tuple[float, float]
    goal: tuple[float, float]
    virtual: dict[str, tuple[tuple[float, float], ...]]
    rollout: dict[str, tuple[tuple[float, float], ...]]
    crossed: dict[str, float]
    reached: dict[str, float]


def problems(task: Task, model: WorldModel, episodes: Sequence[Episode], pixels: int | None = None) -> Problem:
    """The planning problems of some episodes."""
    env = task.make(pixels=pixels)
    return problem_of(model, [observe(env, episode) for episode in episodes], task.horizon)


def landscape(problem: Problem, *, reach: float = 3.0, points: int = 31, seed: int = 0) -> Landscape:
    """Both losses of the first problem on a square around a plan that GD found.

    Args:
        problem: the first of its batch is looked at.
        reach: how far to go along each direction; directions have a root mean square of 1 over their variables.
        points: on a side.
        seed: of the directions.
    """
    one = _rows(problem, 1)
    actions = plan(one, GD(), Budget(steps=30)).actions
    generator = torch.Generator().manual_seed(seed)
    at = torch.linspace(-reach, reach, points)
    u, v = (grid.flatten()[:, None, None].to(actions) for grid in torch.meshgrid(at, at, indexing="ij"))

    def moved(variable: Tensor) -> Tensor:
        ways = [torch.randn(variable.shape[1:], generator=generator).to(variable) for _ in range(2)]
        return variable + u * ways[0] + v * ways[1]

    many = one.repeat(points * points)
    with torch.no_grad(), frozen(problem.dynamics, problem.objective):
        there = moved(actions)
        shooting = many.cost(many.rollout(there), there)
        states = one.rollout(actions)[:, :-1] / one.unit[:, None]
        lifted = lifted_loss(many, moved(states) * many.unit[:, None], there, 0.1, stop_gradient=True)
    shape = (points, points)
    return Landscape(tuple(at.tolist()), _table(shooting.reshape(shape)), _table(lifted.reshape(shape)), one.horizon)


def goal_paths(task: Task, model: WorldModel, episodes: Sequence[Episode], pixels: int | None = None) -> GoalPaths:
    """The planner's distance to the goal along ways of the scripted policy, which end at it.

    Raises:
        GraspPlannerError: the task's episodes come without a known way.
    """
    env = task.make(pixels=pixels)
    known = [episode.actions for episode in episodes]
    if any(actions is None for actions in known):
        raise GraspPlannerError(f"{task.name} does not say how its goals are reached: take a task with the source dset")
    paths = [execute(task, e, a, env).states[:: model.frameskip] for e, a in zip(episodes, known) if a is not None]
    states = encoded_states(model, env, np.stack(paths))
    problem = problems(task, model, episodes, pixels)
    with torch.no_grad():
        goal, unit = problem.goal[:, None] / problem.unit[:, None], problem.unit[:, None]
        cost = problem.objective.terminal(states / unit, goal).clamp(min=0).sqrt()
    relative = cost / cost[:, :1].clamp(min=1e-9)
    away = float((cost.diff(dim=1) > 1e-6 * cost[:, :1]).float().mean())
    steps = tuple(range(0, task.horizon + 1, model.frameskip))
    return GoalPaths(steps, _table(relative), away, tuple(relative.max(1).values.tolist()))


def adversarial(
    task: Task,
    model: WorldModel,
    episodes: Sequence[Episode],
    *,
    sizes: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    pixels: int | None = None,
    seed: int = 0,
) -> Adversarial:
    """One step of the state down the gradient of |F(s, 0) - g|^2, of several lengths; the action stays idle.

    Args:
        task: of the episodes.
        model: of context 1, or else its last state is moved.
        episodes: whose starts and goals.
        sizes: of the step, root mean square over coordinates in units of the scale.
        pixels: side of the pictures that the model reads.
        seed: of the random directions.
    """
    problem = problems(task, model, episodes, pixels)
    one = replace(problem, horizon=1)
    idle = one.clamp(one.start.new_zeros(one.batch, 1, one.action_size))
    goal = problem.goal / problem.unit

    def distance(moved: Tensor) -> Tensor:
        return one.objective.terminal(one.predict(moved[:, None], idle)[:, 0] / one.unit, goal)

    with frozen(problem.dynamics, problem.objective):
        start = problem.start.detach().requires_grad_()
        with torch.enable_grad():
            before = distance(start)
            (slope,) = torch.autograd.grad(before.sum(), start)
        generator = torch.Generator().manual_seed(seed)
        chance = torch.randn(slope.shape, generator=generator).to(slope)
        rows: list[tuple[float, float]] = []
        real: list[np.ndarray] = []
        with torch.no_grad():
            for size in sizes:
                down = start - size * _unit_size(slope * one.unit) * one.unit
                side = start - size * _unit_size(chance) * one.unit
                gains = [float((distance(x) / before).clamp(min=0).sqrt().median()) for x in (down, side)]
                rows.append((gains[0], gains[1]))
                real += _true_distances(task, model, episodes, down, start)
    truth = tuple(None if np.isnan(one).all() else float(np.nanmedian(one)) for one in real)
    impossible = tuple(float(np.isnan(one).mean()) for one in real)
    return Adversarial(tuple(sizes), tuple(r[0] for r in rows), tuple(r[1] for r in rows), truth, impossible)


def cutting(*, map: str = "wall", horizon: int = 12, batch: int = 16, steps: int = 400, seed: int = 0) -> Cutting:
    """Lifted planning on BallNav with gradients to the states, and GRASP, on the same problems.

    With gradients to the states and nothing else, states and actions settle where the defect is least: on the straight
    line, through the wall, with the impossible step spread over its neighbours. No rollout follows it.
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

        def keep(progress: object, kept: list[Tensor] = kept) -> None:
            state = getattr(progress, "state", None)
            if state is not None and state.scored is None:
                kept[:] = [state.states]

        found = plan(problem, planner, Budget(steps=steps), seeds=list(range(batch)), callback=keep)
        states = torch.cat([problem.start[:, None], kept[0], problem.goal[:, None]], dim=1).numpy(force=True)
        ways = torch.cat([problem.start[:, None], found.states], dim=1).numpy(force=True)
        crossed[name] = float(np.mean([_crosses(one, walls) for one in states]))
        reached[name] = float(np.mean(np.linalg.norm(ways[:, -1] - problem.goal.numpy(force=True), axis=1) <= RADIUS))
        virtual[name], rollout[name] = _points(states[0]), _points(ways[0])
    start, goal = (_points(one[:1].numpy(force=True))[0] for one in (problem.start, problem.goal))
    return Cutting(tuple(_points(wall) for wall in walls), start, goal, virtual, rollout, crossed, reached)


def _rows(problem: Problem, count: int) -> Problem:
    return replace(
        problem,
        states=problem.states[:count],
        past_actions=problem.past_actions[:count],
        goal=problem.goal[:count],
    )


def _unit_size(direction: Tensor) -> Tensor:
    return direction / direction.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)


def _true_distances(
    task: Task, model: WorldModel, episodes: Sequence[Episode], moved: Tensor, start: Tensor
) -> list[np.ndarray]:
    """How far from the goals the simulator is after one idle model step, relative to that without the move: (b,).

    Nothing if the model decodes no states, and nan where the simulator has no state such as that which was read.
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


def _crosses(path: np.ndarray, walls: np.ndarray) -> bool:
    """Whether any step of a path (t, 2) passes through a wall."""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])

    p, q = path[:-1, None], path[1:, None]
    u, v = walls[None, :, 0], walls[None, :, 1]
    return bool(((side(p, q, u) * side(p, q, v) < 0) & (side(u, v, p) * side(u, v, q) < 0)).any())


def _points(array: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in array)


def _table(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())
