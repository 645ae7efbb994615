"""Which models belong to a task: the model of its world, and whether a given model belongs to another world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grasp_planner.bench.tasks import Task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.world_model import WorldModel
from grasp_planner.domains.registry import DOMAINS
from grasp_planner.io.text_files import read_json
from grasp_planner.models.registry import model_folder, model_name

SUMMARY_FILE = "training.json"  # beside the weights of models that were trained by this package
NAMESPACE = "grasp_planner/"


def model_for(task: Task, name: str | None = None) -> str:
    """Return the name of the model to plan a task in.

    Args:
        task: the task.
        name: a model as ``load_world_model`` takes it, in any spelling; ``None``: the default of the task's world.

    Raises:
        GraspPlannerError: there is no such model, it belongs to another world, or the world has no default.

    >>> from grasp_planner.bench.tasks import task
    >>> model_for(task("wall")), model_for(task("wall"), "Wall_Pixels")
    ('wall-state', 'wall-pixels')
    """
    if name is None:
        if not task.domain.models:
            raise GraspPlannerError(f"the world {task.domain.name} has no packaged model: name a model or its folder")
        return task.domain.models[0] if task.variant is None else task.variant.model
    name = model_name(name)
    if task.variant is not None and name in task.domain.models and name != task.variant.model:
        raise GraspPlannerError(
            f"the model {name} has other settings than the task {task.name}, which is planned in {task.variant.model}"
        )
    worlds = worlds_of(name)
    if worlds and task.env not in worlds:
        raise GraspPlannerError(
            f"the model {name} belongs to {' and '.join(sorted(worlds))}, and the task {task.name} is in {task.env}"
            f"{_instead(task)}"
        )
    return name


def worlds_of(name: str) -> set[str]:
    """Return the environments that a model belongs to, as far as is known; empty if it is not known.

    A packaged model belongs to the world that names it. For a model that this package trained, the environments of its
    data are known, unless the data were collected elsewhere.
    """
    if named := {domain.env for domain in DOMAINS.values() if name in domain.models}:
        return named
    folder = model_folder(name)
    if folder is None or not (folder / SUMMARY_FILE).is_file():
        return set()
    try:
        data = read_json(folder / SUMMARY_FILE).get("data")
    except GraspPlannerError:  # the file is not needed to plan
        return set()
    joined = data.get("joined") if isinstance(data, Mapping) else None
    environments = {_environment(source) for source in (joined if isinstance(joined, list) else [data])}
    return set() if None in environments else {one for one in environments if one is not None}


def _environment(source: Any) -> str | None:
    """The environment in which data were collected; None if they were not collected in one of ours."""
    recipe = source.get("collected_by") if isinstance(source, Mapping) else None
    environment = recipe.get("environment") if isinstance(recipe, Mapping) else None
    if not isinstance(environment, str) or not environment.startswith(NAMESPACE):
        return None
    return environment.removeprefix(NAMESPACE)


def check_actions(task: Task, model: WorldModel) -> None:
    """Raise unless a model's actions are blocks of the actions of the task's environment.

    Raises:
        GraspPlannerError: the sizes differ.
    """
    each = len(task.domain.data.action_mean)
    if len(model.low) != model.frameskip * each:
        raise GraspPlannerError(
            f"the model does not fit the task {task.name}: an action of the model is {len(model.low)} numbers, and "
            f"{model.frameskip} actions of {task.env} are {model.frameskip * each}{_instead(task)}"
        )


def misfit(task: Task, reason: GraspPlannerError) -> GraspPlannerError:
    """Return the error for a model that refuses the observations of a task."""
    return GraspPlannerError(f"the model does not fit the task {task.name} in {task.env}: {reason}{_instead(task)}")


def _instead(task: Task) -> str:
    return f"; models of this world: {', '.join(task.domain.models)}" if task.domain.models else ""
