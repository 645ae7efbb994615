"""Planners of other libraries, called on the problems of this package.

Each planner is called as the documentation of its library describes. None of these planners has a limit in seconds,
so ``Search.another`` ends planning from outside: a further iteration begins only if there is time for an iteration that
takes as long as the last one. Libraries are imported inside functions.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import only_the_end_counts
from grasp_planner.core.problem import Problem
from grasp_planner.planning.meter import Meter

MANY = 10**9  # iterations; the deadline comes first
MODULES = {
    "pytorch-mppi": "pytorch_mppi",
    "stable-worldmodel": "stable_worldmodel.solver",
    "mbrl": "mbrl.planning",
}
"""Libraries by their names on the package index, and the module with their planners."""


def needed(library: str) -> Any:
    """Import the planners of a library.

    Raises:
        GraspPlannerError: the library could not be imported; the error says how to install it.
    """
    try:
        if library == "stable-worldmodel":
            _without_init("stable_worldmodel")
        return import_module(MODULES[library])
    except ImportError as error:
        raise GraspPlannerError(
            f"the planners of {library} could not be imported ({error}): pip install {library}; docs/comparison.md has "
            "the commands that leave the installed torch as it is, and --libraries leaves libraries out"
        ) from error


def _without_init(package: str) -> None:
    """Let modules of a package be imported without its ``__init__``.

    The ``__init__`` of stable-worldmodel imports its environments, data formats and torchvision, which its solvers do
    not need.
    """
    if package not in sys.modules and (spec := find_spec(package)) is not None:
        bare = ModuleType(package)
        bare.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[package] = bare


class Enough(Exception):
    """Raised inside of another library's callback when its seconds are spent."""


class Search:
    """A batch of b problems in the form that other libraries need, with a count of transitions and a deadline.

    States and costs are in units of the problem's scale, as they are for the planners of this package. Actions are
    moved to the nearest actions within the bounds, because some libraries know no bounds.

    Raises:
        GraspPlannerError: the model reads a history, or the objective has a stage cost.
    """

    def __init__(self, problem: Problem, seconds: float) -> None:
        if problem.context != 1 or not only_the_end_counts(problem.objective):
            raise GraspPlannerError("needed a model of context 1, and an objective of the last state only")
        self.meter = Meter(problem.dynamics)
        self.problem = problem.through(self.meter).normalised()
        self.iterations = 0
        self._last = time.perf_counter()
        self._deadline = self._last + seconds

    @property
    def transitions(self) -> int:
        """Model transitions so far, per problem."""
        return self.meter.rows // self.problem.batch

    def costs(self, actions: Tensor) -> Tensor:
        """Return the costs (b, n) of candidates (b, n, t, a)."""
        many, inside = self.problem.repeat(actions.shape[1]), self.problem.clamp(actions.flatten(0, 1))
        return many.cost(many.rollout(inside), inside).unflatten(0, actions.shape[:2])

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict one step from states (b * n, s), which are ordered by problem, with actions (b * n, a)."""
        return self.problem.one_step(states[:, None], self.problem.clamp(actions)[:, None])

    def end_costs(self, states: Tensor) -> Tensor:
        """Return the costs (b * n,) of plans that end in states (b * n, s), which are ordered by problem."""
        ends = states.unflatten(0, (self.problem.batch, -1))
        return self.problem.objective.terminal(ends, self.problem.goal[:, None]).flatten()

    def another(self) -> bool:
        """Count an iteration, and return whether there is time for an iteration that takes as long."""
        now = time.perf_counter()
        lasted, self._last = now - self._last, now
        self.iterations += 1
        return now + lasted <= self._deadline


def mppi_of_pytorch_mppi(
    search: Search, seed: int, *, num_samples: int, std: float, lambda_: float, start: str
) -> Tensor:
    """Return the plans (b, t, a) of ``MPPI`` for one problem, and of ``MPPI_Batched`` for several problems."""
    library, problem = needed("pytorch-mppi"), search.problem
    torch.manual_seed(seed)

    def dynamics(states: Tensor, actions: Tensor, t: int) -> Tensor:
        return search.step(states, actions)

    def cost(states: Tensor, actions: Tensor, t: int) -> Tensor:
        return search.end_costs(states) if t == problem.horizon - 1 else states.new_zeros(len(states))

    shared = {
        "num_samples": num_samples,
        "horizon": problem.horizon,
        "lambda_": lambda_,
        "u_min": problem.low,
        "u_max": problem.high,
        "step_dependent_dynamics": True,
    }
    noise_sigma = std**2 * torch.eye(problem.action_size)  # a covariance
    if problem.batch == 1:
        first = problem.start[0]
        controller = library.MPPI(dynamics, cost, problem.latent_size, noise_sigma, **shared)
    else:
        first = problem.start
        controller = library.MPPI_Batched(
            dynamics, cost, problem.latent_size, noise_sigma, num_envs=problem.batch, **shared
        )
    if start == "zeros":
        controller.U = torch.zeros_like(controller.U)
    controller.command(first, shift_nominal_trajectory=False)
    while search.another():
        controller.command(first, shift_nominal_trajectory=False)
    return controller.U.reshape(problem.batch, problem.horizon, problem.action_size)


class _Cost:
    """The cost as solvers of stable-worldmodel call it."""

    def __init__(self, search: Search) -> None:
        self.search = search

    def get_cost(self, info: dict[str, Any], candidates: Tensor) -> Tensor:
        """Return the costs (b, n) of candidates (b, n, t, a)."""
        return self.search.costs(candidates)


class _Watch:
    """A callback of a solver of stable-worldmodel that keeps the plan of every iteration, and ends planning."""

    def __init__(self, search: Search, plan: Callable[[dict[str, Any]], Tensor]) -> None:
        self.search, self.plan = search, plan
        self.found: Tensor | None = None

    def reset(self) -> None:
        """Do nothing: a callback serves one plan."""

    def start_batch(self) -> None:
        """Do nothing: all problems are one batch."""

    def __call__(self, **state: Any) -> None:
        """Keep the plan of this iteration.

        Raises:
            Enough: there is no time for another iteration.
        """
        self.found = self.plan(state)
        if not self.search.another():
            raise Enough


def _solved(search: Search, solver: Any, watch: _Watch) -> Tensor:
    import gymnasium

    problem = search.problem
    space = gymnasium.spaces.Box(-math.inf, math.inf, (problem.batch, problem.action_size))
    config = SimpleNamespace(horizon=problem.horizon, action_block=1)  # an action is a whole block already
    solver.configure(action_space=space, n_envs=problem.batch, config=config)
    try:
        solver.solve({"problem": torch.arange(problem.batch)})
    except Enough:
        pass
    assert watch.found is not None, "the solver did not call its callback"
    return watch.found


def cem_of_stable_worldmodel(
    search: Search, seed: int, *, num_samples: int, elite_ratio: float, var_scale: float
) -> Tensor:
    """Return the plans (b, t, a) of ``CEMSolver``, the means of its last iteration."""
    watch = _Watch(search, lambda state: state["mean"])
    solver = needed("stable-worldmodel").CEMSolver(
        _Cost(search),
        batch_size=search.problem.batch,
        num_samples=num_samples,
        var_scale=var_scale,
        n_steps=MANY,
        topk=max(2, round(elite_ratio * num_samples)),
        seed=seed,
        callbacks=[watch],
    )
    return _solved(search, solver, watch)


def gradient_of_stable_worldmodel(
    search: Search, seed: int, *, num_samples: int, lr: float, var_scale: float, action_noise: float
) -> Tensor:
    """Return the plans (b, t, a) of ``GradientSolver``, the candidates of least cost in its last iteration."""

    def cheapest(state: dict[str, Any]) -> Tensor:
        rows = torch.arange(search.problem.batch)
        return state["params"].detach()[rows, state["costs"].argmin(1)].clone()

    watch = _Watch(search, cheapest)
    solver = needed("stable-worldmodel").GradientSolver(
        _Cost(search),
        n_steps=MANY,
        num_samples=num_samples,
        var_scale=var_scale,
        action_noise=action_noise,
        seed=seed,
        optimizer_cls=torch.optim.AdamW,
        optimizer_kwargs={"lr": lr},
        callbacks=[watch],
    )
    with torch.enable_grad():
        return _solved(search, solver, watch)


def cem_of_mbrl(
    search: Search, seed: int, *, population_size: int, elite_ratio: float, alpha: float, clipped_normal: bool
) -> Tensor:
    """Return the plan (1, t, a) of ``CEMOptimizer``, the best candidate of all iterations."""
    torch.manual_seed(seed)
    low, high = _bounds(search.problem)
    optimizer = needed("mbrl").CEMOptimizer(
        num_iterations=MANY,
        elite_ratio=elite_ratio,
        population_size=population_size,
        lower_bound=low,
        upper_bound=high,
        alpha=alpha,
        device=torch.device("cpu"),
        clipped_normal=clipped_normal,
    )
    return _optimised(search, optimizer)


def icem_of_mbrl(
    search: Search,
    seed: int,
    *,
    population_size: int,
    elite_ratio: float,
    population_decay_factor: float,
    colored_noise_exponent: float,
    keep_elite_frac: float,
    alpha: float,
) -> Tensor:
    """Return the plan (1, t, a) of ``ICEMOptimizer``, the best candidate of all iterations."""
    torch.manual_seed(seed)
    low, high = _bounds(search.problem)
    optimizer = needed("mbrl").ICEMOptimizer(
        num_iterations=MANY,
        elite_ratio=elite_ratio,
        population_size=population_size,
        population_decay_factor=population_decay_factor,
        colored_noise_exponent=colored_noise_exponent,
        lower_bound=low,
        upper_bound=high,
        keep_elite_frac=keep_elite_frac,
        alpha=alpha,
        device=torch.device("cpu"),
    )
    return _optimised(search, optimizer)


def _bounds(problem: Problem) -> tuple[list[list[float]], list[list[float]]]:
    return [problem.low.tolist()] * problem.horizon, [problem.high.tolist()] * problem.horizon


def _optimised(search: Search, optimizer: Any) -> Tensor:
    best: list[Tensor] = []  # the best value so far, and its plan

    def value(population: Tensor) -> Tensor:
        return -search.costs(population[None])[0]

    def watch(population: Tensor, values: Tensor, iteration: int) -> None:
        position = values.argmax()
        if not best or values[position] > best[0]:
            best[:] = values[position].clone(), population[position].clone()
        if not search.another():
            raise Enough

    problem = search.problem
    try:
        optimizer.optimize(value, x0=torch.zeros(problem.horizon, problem.action_size), callback=watch)
    except Enough:
        pass
    return best[1][None]


@dataclass(frozen=True)
class Rival:
    """A planner of another library, with its documented settings and the settings that tuning tries.

    Attributes:
        library: name of the library on the package index.
        planner: name of the planner.
        plan: function of a search, a seed and settings; returns plans (b, t, a) that may be outside of the bounds.
        batches: whether it plans several problems at once.
        documented: settings that the library's documentation gives, the first trial of tuning.
        known: settings that are good on validation episodes, the second trial. In most cases they are like those that
            tuning chose for this package's planner of the same kind.
        space: the values of each setting that further trials draw from.
    """

    library: str
    planner: str
    plan: Callable[..., Tensor]
    batches: bool
    documented: Mapping[str, Any]
    known: Mapping[str, Any]
    space: Mapping[str, Sequence[Any]]


def drawn(rival: Rival, trial: int) -> dict[str, Any]:
    """Return the settings of one trial of tuning. A planner and a number always give the same settings."""
    if trial < 2:
        return dict(rival.known if trial else rival.documented)
    rng = random.Random(f"{rival.library}/{rival.planner}/{trial}")
    return {name: rng.choice(values) for name, values in rival.space.items()}


SAMPLES = (32, 64, 100, 200, 300)
RIVALS = (
    # README of version 0.9.1: num_samples of its tuning example, and the advice on lambda_. The documentation gives no
    # noise for other problems: 1 is the standard deviation of the actions in the data.
    Rival(
        library="pytorch-mppi",
        planner="MPPI",
        plan=mppi_of_pytorch_mppi,
        batches=True,
        documented={"num_samples": 500, "std": 1.0, "lambda_": 0.01, "start": "noise"},
        # The temperature of this package's MPPI has other units. The known settings were the best of four preliminary
        # trials on validation episodes.
        known={"num_samples": 128, "std": 0.3, "lambda_": 0.003, "start": "zeros"},
        space={
            "num_samples": (*SAMPLES, 500),
            "std": (0.3, 0.5, 0.8, 1.2),
            "lambda_": (0.001, 0.003, 0.01, 0.03, 0.1, 1.0),
            "start": ("noise", "zeros"),
        },
    ),
    # scripts/plan/config/solver/cem.yaml of release 0.1.1; its 30 iterations are replaced by the seconds.
    Rival(
        library="stable-worldmodel",
        planner="CEM",
        plan=cem_of_stable_worldmodel,
        batches=True,
        documented={"num_samples": 300, "elite_ratio": 0.1, "var_scale": 1.0},
        known={"num_samples": 32, "elite_ratio": 0.1, "var_scale": 0.8},
        space={"num_samples": SAMPLES, "elite_ratio": (0.05, 0.1, 0.2), "var_scale": (0.5, 0.8, 1.2, 2.0)},
    ),
    # scripts/plan/config/solver/adam.yaml of release 0.1.1; its 30 iterations are replaced by the seconds.
    Rival(
        library="stable-worldmodel",
        planner="gradient",
        plan=gradient_of_stable_worldmodel,
        batches=True,
        documented={"num_samples": 100, "lr": 0.1, "var_scale": 1.0, "action_noise": 0.0},
        known={"num_samples": 16, "lr": 0.2, "var_scale": 2.0, "action_noise": 0.0},
        space={
            "num_samples": (8, 16, 32, 100),
            "lr": (0.05, 0.1, 0.2, 0.5),
            "var_scale": (0.5, 1.0, 2.0),
            "action_noise": (0.0, 0.01, 0.05),
        },
    ),
    # mbrl/examples/conf/overrides/pets_cartpole.yaml of version 0.2.0; its 5 iterations are replaced by the seconds.
    Rival(
        library="mbrl",
        planner="CEM",
        plan=cem_of_mbrl,
        batches=False,
        documented={"population_size": 350, "elite_ratio": 0.1, "alpha": 0.1, "clipped_normal": False},
        known={"population_size": 32, "elite_ratio": 0.1, "alpha": 0.0, "clipped_normal": True},
        space={
            "population_size": SAMPLES,
            "elite_ratio": (0.1, 0.2),
            "alpha": (0.0, 0.1, 0.3),
            "clipped_normal": (False, True),
        },
    ),
    # mbrl/examples/conf/overrides/pets_icem_cartpole.yaml of version 0.2.0; likewise.
    Rival(
        library="mbrl",
        planner="iCEM",
        plan=icem_of_mbrl,
        batches=False,
        documented={
            "population_size": 200,
            "elite_ratio": 0.1,
            "population_decay_factor": 1.3,
            "colored_noise_exponent": 2.0,
            "keep_elite_frac": 0.3,
            "alpha": 0.1,
        },
        known={
            "population_size": 32,
            "elite_ratio": 0.2,
            "population_decay_factor": 1.0,
            "colored_noise_exponent": 1.0,
            "keep_elite_frac": 0.3,
            "alpha": 0.3,
        },
        space={
            "population_size": SAMPLES,
            "elite_ratio": (0.1, 0.2),
            "population_decay_factor": (1.0, 1.1, 1.3),
            "colored_noise_exponent": (0.5, 1.0, 2.0, 3.0),
            "keep_elite_frac": (0.1, 0.3),
            "alpha": (0.0, 0.1, 0.3),
        },
    ),
)
