"""Objects in Python files of the user, which the command line names as ``FILE.py:NAME``: models and losses."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from grasp_planner.bench.running.model_hash import model_hash
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.tasks import Task
from grasp_planner.core.errors import GraspPlannerError, reason_of, unknown_name
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.registry import load_world_model

WORD = re.compile(r"(?P<file>.+\.py)(:(?P<name>\w*))?")
CPU = "cpu"  # the device if no device is given


def is_python_object(name: str) -> bool:
    """Return whether a name has the form ``FILE.py:NAME``.

    >>> is_python_object("my_task.py:losses"), is_python_object("push_t")
    (True, False)
    """
    return WORD.fullmatch(name) is not None


def python_object(name: str) -> Any:
    """Run a Python file, and return the object that it calls by a name.

    The folder of the file is then searched for modules, as for a program, so that the file can import its neighbours.

    Args:
        name: ``FILE.py:NAME``.

    Raises:
        GraspPlannerError: the file is missing or fails, or has no such name.
    """
    path, wanted = _parts(name)
    if not path.is_file() or not wanted:
        problem = "the NAME is missing" if path.is_file() else "there is no such file"
        raise GraspPlannerError(f"needed FILE.py:NAME with an existing file, got {name!r}: {problem}")
    module_name = f"_of_user_{path.stem}"  # a name that no other module has
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    if (folder := str(path.parent.absolute())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's, and may raise anything
        del sys.modules[module_name]
        raise GraspPlannerError(f"{path} cannot be imported: {reason_of(error)}") from error
    if wanted not in vars(module):
        own = [one for one, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        raise GraspPlannerError(f"{path}: {unknown_name('object', wanted, own)}")
    return vars(module)[wanted]


def model_called(task: Task, name: str | None) -> str:
    """Return the name of the model to plan a task in, as ``model_for`` does, or ``FILE.py:NAME`` unchanged.

    Raises:
        GraspPlannerError: there is no such model, it belongs to another world, or the world has no default.
    """
    return name if name is not None and is_python_object(name) else model_for(task, name)


def named_model(name: str, device: str) -> WorldModel:
    """Load a model by its name or folder, or from a Python file that holds a model or a function that returns one.

    Raises:
        GraspPlannerError: there is no such model, the object is no world model, or a device is given for a model in a
            Python file.
    """
    if not is_python_object(name):
        return load_world_model(name, device=device)
    if device != CPU:
        raise GraspPlannerError(f"--device is for packaged models and folders; {name} chooses its device itself")
    found = python_object(name)
    if isinstance(found, type) or (not isinstance(found, WorldModel) and callable(found)):
        try:
            found = found()
        except Exception as error:  # the function is the user's, and may raise anything
            raise GraspPlannerError(f"{name}: called without arguments, it raised {reason_of(error)}") from error
    if isinstance(found, WorldModel):
        return found
    raise GraspPlannerError(
        f"{name}: needed a world model, or a function without arguments that returns one, got {type(found).__name__}; "
        "a world model has context, frameskip, low, high, scale, encode and a call"
    )


def content_hash(name: str) -> str:
    """Return sixteen hexadecimal digits that identify a model, or the content of the file in ``FILE.py:NAME``.

    Files that the file imports or reads do not count.

    Raises:
        GraspPlannerError: there is no such model.
    """
    if not is_python_object(name):
        return model_hash(name)
    return hashlib.sha256(_parts(name)[0].read_bytes()).hexdigest()[:16]


def _parts(name: str) -> tuple[Path, str]:
    """Return the file and the name in ``FILE.py:NAME``."""
    found = WORD.fullmatch(name)
    assert found is not None, "callers ask is_python_object first"
    return Path(found["file"]), found["name"] or ""
