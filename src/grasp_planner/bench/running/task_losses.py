"""The losses of planners on a packaged task, and objects in Python files of the user."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.registry import Device, load_world_model
from grasp_planner.planning.protocol import Planner

TIE = 1e-3
"""Largest part of a loss that comes from the cost of the plan. It orders settings with equally many failures."""


@dataclass(frozen=True)
class TaskLosses:
    """The losses of planners on episodes of a packaged task: 1 for a failure in the simulator, and 0 for a success.

    The cost of a plan in the model adds up to 0.001 to its loss, so that settings with equally many failures are
    ordered.

    Args:
        task: the task; its horizon is in environment steps.
        model: the model that plans are made in.
        episodes: validation episodes of the task.

    Example:
        >>> from grasp_planner import GD, load_world_model
        >>> from grasp_planner.bench.tasks import episodes, task
        >>> wall = task("wall", horizon=20)
        >>> losses = TaskLosses(wall, load_world_model("wall-state"), episodes(wall, "validation", 2))
        >>> len(losses(GD(), Budget(steps=2), seed=0))
        2
    """

    task: Task
    model: WorldModel
    episodes: Sequence[Episode]

    def __call__(self, planner: Planner, budget: Budget, seed: int) -> list[float]:
        """Plan all episodes, execute the plans in the simulator, and return the loss of each episode."""
        found = evaluate(self.task, self.model, planner, budget, self.episodes, seed=seed)
        shares = [0.5 + math.atan(cost) / math.pi for cost in found.plan.cost.tolist()]
        return [(not won) + TIE * share for won, share in zip(found.success.tolist(), shares, strict=True)]


def is_python_object(name: str) -> bool:
    """Return whether a name has the form ``FILE.py:NAME``.

    >>> is_python_object("my_task.py:losses"), is_python_object("push_t")
    (True, False)
    """
    return name.partition(":")[0].endswith(".py")


def python_object(name: str) -> Any:
    """Run a Python file, and return the object that it calls by a name.

    Args:
        name: ``FILE.py:NAME``.

    Raises:
        GraspPlannerError: the file is missing or fails, or has no such name.
    """
    file, _, wanted = name.partition(":")
    path = Path(file)
    if not path.is_file() or not wanted:
        problem = "the NAME is missing" if path.is_file() else "there is no such file"
        raise GraspPlannerError(f"needed FILE.py:NAME with an existing file, got {name!r}: {problem}")
    module_name = f"_of_user_{path.stem}"  # a name that no other module has
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent.absolute()))  # as for a program, so that it can import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's, and may raise anything
        del sys.modules[module_name]
        raise GraspPlannerError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent.absolute()))
    if wanted not in vars(module):
        own = [one for one, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        raise GraspPlannerError(f"{path}: {unknown_name('object', wanted, own)}")
    return vars(module)[wanted]


def world_model(name: str, device: Device) -> WorldModel:
    """Load a model by its name or folder, or from a Python file that holds a model or a function that returns one.

    Raises:
        GraspPlannerError: there is no such model, or the object is no world model.
    """
    if not is_python_object(name):
        return load_world_model(name, device=device)
    found = python_object(name)
    if isinstance(found, type) or (not isinstance(found, WorldModel) and callable(found)):
        found = found()
    if isinstance(found, WorldModel):
        return found
    raise GraspPlannerError(
        f"{name}: needed a world model, or a function without arguments that returns one, got {type(found).__name__}; "
        "a world model has context, frameskip, low, high, scale, encode and a call"
    )
