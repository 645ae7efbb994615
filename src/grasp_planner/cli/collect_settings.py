"""The settings of ``grasp collect``. This module imports torch, which scripted policies do not need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from grasp_planner.bench.running.planner_policy import PlannerPolicy
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.tasks import task
from grasp_planner.cli.limits import TRANSITIONS
from grasp_planner.cli.parsing import POSITIONAL
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget
from grasp_planner.planning.protocol import Planner


@dataclass(frozen=True)
class Collect:
    """Collect a data set in Minari's format, with several processes.

    If the command is stopped or killed, run it again: it continues where it stopped. The data depend neither on
    interruptions nor on the number of processes.

    With planner:NAME, the actions come from a planner: each episode is one plan, made in a world model from the start
    to the goal of a training episode, and executed in the environment. Write the name of a planner before its flags.

    Args:
        env: environment: push_t, wall, point_maze, ball_nav.
        episodes: number of episodes.
        out: a new or empty folder, or the folder of a collection that was stopped.
        steps: environment steps in each episode; None: the published number, and with a planner the horizon of the
            task.
        pixels: side length of the pictures, 64 or 224; None: no pictures.
        every: environment steps per data step; 5 gives action blocks of 5, and one picture per block.
        seed: seed of the whole data set.
        workers: number of processes; None: one per core.
        policy: name of the scripted policy; None: the environment's default policy.
        model: the model that the planner plans in: a packaged name, a folder with config.json and model.safetensors,
            or owner/name on the Hugging Face Hub. None: the model of the environment.
        transitions: budget of the planner in model steps per episode. The default budget is 30000.
        start: folder of a policy that `grasp train policy` wrote, whose actions are the initial actions of the planner;
            None: planning begins with zeros.
        planner: the planner that collects the data; none: the scripted policy.
    """

    env: Annotated[str, POSITIONAL]
    episodes: int
    out: Path
    steps: int | None = None
    pixels: int | None = None
    every: int = 1
    seed: int = 0
    workers: int | None = None
    policy: str | None = None
    model: str | None = None
    transitions: int | None = None
    start: Path | None = None
    planner: Planner | None = None


def data_options(settings: Collect) -> dict[str, Any]:
    """Return the keyword arguments of ``collect``, with the planner's policy if the settings have a planner.

    Raises:
        GraspPlannerError: the settings contradict each other, or the model does not fit the environment.
    """
    names = ("steps", "pixels", "every", "seed", "workers", "policy")
    options = {name: getattr(settings, name) for name in names}
    if settings.planner is None:
        for name in ("model", "transitions", "start"):
            if getattr(settings, name) is not None:
                raise GraspPlannerError(f"--{name} belongs to a planner: name one, such as planner:recommended")
        return options
    if settings.policy is not None:
        raise GraspPlannerError("actions come from --policy or from a planner: give one of the two")
    chosen = task(settings.env, settings.steps)
    budget = Budget(transitions=TRANSITIONS if settings.transitions is None else settings.transitions)
    model, start = model_for(chosen, settings.model), None if settings.start is None else str(settings.start)
    policy = PlannerPolicy(chosen.name, chosen.horizon, model, settings.planner, budget, start)
    return options | {"steps": chosen.horizon, "policy": policy}
