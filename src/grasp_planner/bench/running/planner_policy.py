"""A policy that plans to the goals of training episodes and executes the plans, to collect data with a planner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench import tasks
from grasp_planner.bench.running.model_hash import model_hash
from grasp_planner.bench.running.observing import model_steps, problem_of
from grasp_planner.bench.running.open_loop import executable
from grasp_planner.bench.running.task_models import check_actions, model_for
from grasp_planner.bench.suites.settings import settings_text
from grasp_planner.bench.tasks import Episode, Task, task
from grasp_planner.control.planner_files import settings_of
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget, Status
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import SeesPictures
from grasp_planner.models.learned_policy import LearnedPolicy
from grasp_planner.models.registry import load_world_model
from grasp_planner.planning.loop import run
from grasp_planner.planning.protocol import Planner

EPISODES_PER_SEED = 1 << 32  # a data set with seed s has the training episodes from s * 2^32 on


@dataclass(frozen=True)
class PlannerPolicy:
    """The settings of a policy that plans in a world model. A call makes the policy, as ``collect`` expects.

    The policy plans from the starts to the goals of training episodes of a task, and executes the whole plans. Episodes
    of the splits ``test`` and ``validation`` are never used.

    Args:
        task: name of the task.
        horizon: environment steps of a plan, which is the number of steps of a collected episode.
        model: the model that plans are made in, as ``load_world_model`` takes it.
        planner: the planner.
        budget: budget of a plan, in steps or transitions.
        start: folder of a policy that ``train_policy`` wrote, whose actions are the initial actions of the planner.
            ``None``: planning begins with zeros.

    Raises:
        GraspPlannerError: a name is unknown, the model does not fit the task or the horizon, the policy does not fit
            the model, or the budget is in seconds, so that the data would depend on the speed of the machine.

    Example:
        >>> from grasp_planner import GD
        >>> PlannerPolicy("wall/dset/v1", 20, "wall-state", GD(), Budget(steps=10)).description
        'gd(lr 0.05, optimiser adam, action_noise 0.0, tolerance 0.0), steps 10, in wall-state ..., wall/dset/v1'
    """

    task: str
    horizon: int
    model: str
    planner: Planner
    budget: Budget
    start: str | None = None

    def __post_init__(self) -> None:
        chosen = self.chosen_task()
        object.__setattr__(self, "task", chosen.name)
        object.__setattr__(self, "model", model_for(chosen, self.model))
        if self.budget.seconds is not None:
            raise GraspPlannerError(
                "a planner that collects data needs a budget in steps or transitions, since data must not depend on "
                f"the speed of the machine; got {self.budget}"
            )
        model = load_world_model(self.model)
        check_actions(chosen, model)
        model_steps(model, self.horizon)
        if self.start is not None:
            LearnedPolicy.from_pretrained(self.start).check_sizes(len(model.scale), len(model.low))

    @property
    def description(self) -> str:
        """All settings on one line, with the hashes of the model and of the policy."""
        limits = {"steps": self.budget.steps, "transitions": self.budget.transitions}
        budget = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None)
        planner = settings_text(settings_of(self.planner))
        start = "" if self.start is None else f", from {self.start} {model_hash(self.start)}"
        return f"{planner}, {budget}, in {self.model} {model_hash(self.model)}, {self.task}{start}"

    @property
    def episode_steps(self) -> int:
        """Environment steps in an episode: the horizon, since whole plans are executed."""
        return self.horizon

    def chosen_task(self) -> Task:
        """Return the task with the horizon."""
        return task(self.task, self.horizon)

    def first_actions(self, problem: Problem) -> Tensor | None:
        """Return the actions that planning begins with; ``None``: zeros."""
        return None if self.start is None else LearnedPolicy.from_pretrained(self.start).actions(problem)

    def __call__(self) -> ExecutedPlans:
        """Make the policy."""
        return ExecutedPlans(self)


class ExecutedPlans:
    """A policy that executes plans in open loop. ``prepare`` plans several episodes in one batch."""

    def __init__(self, settings: PlannerPolicy) -> None:
        self.settings = settings
        self.plans: dict[int, tuple[Episode, np.ndarray]] = {}
        self.remaining: Iterator[np.ndarray] = iter(())

    def prepare(self, seed: int, episodes: range) -> None:
        """Plan these episodes of the data set with this seed.

        Raises:
            KeyboardInterrupt: planning was stopped by Ctrl-C. The plans so far are not data.
        """
        chosen, model = self.settings.chosen_task(), load_world_model(self.settings.model)
        drawn = tasks.episodes(chosen, "training", len(episodes), seed * EPISODES_PER_SEED + episodes.start)
        problem = problem_of(chosen, model, drawn, pixels=model.pixels if isinstance(model, SeesPictures) else None)
        with _one_thread():
            seeds, first = [one.seed for one in drawn], self.settings.first_actions(problem)
            found = run(problem, self.settings.planner, self.settings.budget, seeds=seeds, warm_start=first)
        if bool((found.status == int(Status.INTERRUPTED)).any()):
            raise KeyboardInterrupt
        self.plans = dict(zip(episodes, zip(drawn, executable(model, found.actions), strict=True), strict=True))

    def begin(self, episode: int) -> dict[str, np.ndarray]:
        """Begin to execute the plan of a prepared episode, and return its start and goal."""
        drawn, actions = self.plans[episode]
        self.remaining = iter(actions)
        return {"state": drawn.start, "goal": drawn.goal}

    def reset(self, rng: np.random.Generator, state: np.ndarray) -> None:
        """Do nothing: ``begin`` begins an episode."""

    def act(self, state: np.ndarray) -> np.ndarray:
        """Return the next action of the plan."""
        return next(self.remaining)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread of torch, so that the processes that collect data do not compete, and rounding is the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
