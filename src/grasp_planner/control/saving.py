"""Save plans and planner states as tensors and a JSON header with a version and a checksum, without pickle."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from grasp_planner.control.saved_fields import check_structure, field_names
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Plan, Statuses, WarmStart
from grasp_planner.io.atomic import write_bytes_atomically
from grasp_planner.io.safetensors_files import check_header
from grasp_planner.io.text_files import parse_json
from grasp_planner.planners import PLANNERS

VERSION = 2


def save_plan(plan: Plan, path: str | Path) -> Path:
    """Write a plan with its trace and its warm start to one file, for ``load_plan``.

    The file has the safetensors format, so other programs can read its tensors, too.

    Args:
        plan: a plan, as ``grasp_planner.plan`` returns it.
        path: path of the file. The file is written atomically.

    Raises:
        GraspPlannerError: the planner's state holds something other than tensors, numbers, texts, named tuples and
            dataclasses, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from grasp_planner import GD, Budget, Markov, Problem, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> start, goal, bound = torch.zeros(1, 2), torch.full((1, 2), 0.5), torch.ones(2)
        >>> problem = Problem.between(step, start, goal, horizon=10, low=-bound, high=bound)
        >>> found = plan(problem, GD(), Budget(steps=10))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = load_plan(save_plan(found, f"{folder}/mine.plan"))
        >>> torch.equal(again.actions, found.actions)
        True
        >>> plan(problem, GD(), Budget(steps=10), warm_start=again.warm_start).warm_start.steps  # continued
        21
    """
    return _save(plan, "plan", path)


def load_plan(path: str | Path, *, device: str | torch.device = "cpu", known: Iterable[type] = ()) -> Plan:
    """Read a file that ``save_plan`` wrote. No code in the file is executed.

    Args:
        path: path of the file.
        device: device of the plan's tensors.
        known: planner classes and state types of your own that the file may hold.

    Raises:
        GraspPlannerError: there is no such file, it is damaged, it has an unknown version, it holds an unknown type, a
            field has another type or shape than the fields of a plan, or it is not a file of ``save_plan``.

    Example:
        >>> load_plan("missing.plan")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: needed a file of save_plan, but there is none at missing.plan
    """
    plan = _load(Path(path), "plan", Plan, device, known)
    return replace(plan, status=plan.status.as_subclass(Statuses))


def save_state(state: WarmStart, path: str | Path) -> Path:
    """Write a warm start, such as ``Plan.warm_start``, to one file, for ``load_state``.

    The file holds the actions, and the planner with its settings, its state and its number of steps.

    Args:
        state: a warm start.
        path: path of the file. The file is written atomically.

    Raises:
        GraspPlannerError: see ``save_plan``.

    Example:
        >>> import tempfile
        >>> from grasp_planner.core.plans import WarmStart
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = load_state(save_state(WarmStart(torch.ones(1, 3, 2)), f"{folder}/mine.state"))
        >>> again.actions.shape
        torch.Size([1, 3, 2])
    """
    return _save(state, "state", path)


def load_state(path: str | Path, *, device: str | torch.device = "cpu", known: Iterable[type] = ()) -> WarmStart:
    """Read a file that ``save_state`` wrote. With the result as ``warm_start``, ``plan`` continues where it stopped.

    Args:
        path: path of the file.
        device: device of the tensors.
        known: planner classes and state types of your own that the file may hold.

    Raises:
        GraspPlannerError: see ``load_plan``.

    Example:
        >>> load_state("missing.state")
        Traceback (most recent call last):
        grasp_planner.core.errors.GraspPlannerError: needed a file of save_state, but there is none at missing.state
    """
    return _load(Path(path), "state", WarmStart, device, known)


@functools.cache
def known_types() -> dict[str, type]:
    """Return the types that every reader knows, by name: planners, their states, plans, and the types of their fields.

    The state type of a planner is the return annotation of its ``init``.
    """
    found: dict[str, type] = {}
    types: list[type] = [Plan, *PLANNERS.values()]
    for cls in types:  # the list grows during the loop
        if found.setdefault(cls.__name__, cls) is not cls:
            raise GraspPlannerError(f"two types that can be saved are called {cls.__name__}: rename one of them")
        hints = list(get_type_hints(cls).values())
        if cls in PLANNERS.values():
            hints.append(get_type_hints(cls.init).get("return"))  # type: ignore[attr-defined]
        types += [part for part in dict.fromkeys(_structures(hints)) if part not in types]
    return found


def _structures(hints: Iterable[Any]) -> Iterator[type]:
    """Find the dataclasses and named tuples in annotations, such as ``Scored`` in ``Scored | None``."""
    for hint in hints:
        yield from _structures(get_args(hint))
        if isinstance(hint, type) and get_origin(hint) is None and field_names(hint):
            yield hint


def _save(thing: Any, kind: str, path: str | Path) -> Path:
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    content = _written(thing, kind, tensors)
    header = {"kind": kind, "version": VERSION, "content": content, "sha256": _digest(content, tensors)}
    target = Path(path)
    try:
        write_bytes_atomically(target, save(tensors, {"grasp_planner": json.dumps(header)}))
    except OSError as error:
        raise GraspPlannerError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def _load(path: Path, kind: str, cls: type, device: str | torch.device, known: Iterable[type]) -> Any:
    from safetensors import safe_open

    if not path.is_file():
        raise GraspPlannerError(f"needed a file of save_{kind}, but there is none at {path}")
    try:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {}).get("grasp_planner", "null"))
            if not isinstance(header, dict) or header.get("kind") != kind:
                raise GraspPlannerError(f"{path} is not a file of save_{kind}")
            if header.get("version") != VERSION:
                raise GraspPlannerError(
                    f"{path} is of version {header.get('version')!r} of this format, and this grasp-planner reads "
                    f"version {VERSION}: it was written by another release"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # a safe_open is not a mapping
        if header.get("sha256") != _digest(header["content"], tensors):
            raise GraspPlannerError(f"{path} is damaged: its checksum does not match; copy it again, or make it again")
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        types = known_types() | {one.__name__: one for one in known}
        found = _read(header["content"], tensors, types)
        check_structure(found, cls, kind)
    except GraspPlannerError as error:
        raise error if str(path) in str(error) else GraspPlannerError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can make the reader raise almost anything
        said = f"{type(error).__name__}: {error}"
        raise GraspPlannerError(f"{path} is not a whole file of save_{kind} ({said})") from error
    return found


def _written(thing: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Convert ``thing`` to JSON values, and add its tensors to ``tensors`` under new names."""
    if isinstance(thing, Tensor):
        tensors[name] = thing.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if names := [] if isinstance(thing, type) else field_names(type(thing)):
        content = {part: _written(getattr(thing, part), f"{name}.{part}", tensors) for part in names}
        return {"type": type(thing).__name__, "fields": content}
    if isinstance(thing, tuple):
        return {"tuple": [_written(part, f"{name}.{place}", tensors) for place, part in enumerate(thing)]}
    raise GraspPlannerError(
        f"{name} must be a tensor, a number, a text, a dataclass or a named tuple of these to be saved, "
        f"got {type(thing).__name__}"
    )


def _read(content: Any, tensors: dict[str, Tensor], known: dict[str, type]) -> Any:
    """Restore an object from the JSON values of ``_written``."""
    if not isinstance(content, dict):
        return content
    if "tensor" in content:
        return tensors[content["tensor"]]
    if "tuple" in content:
        return tuple(_read(part, tensors, known) for part in content["tuple"])
    if content["type"] not in known:
        raise GraspPlannerError(
            f"the file holds a {content['type']}, which is not known here: known=[{content['type']}] if it is yours"
        )
    return known[content["type"]](**{name: _read(part, tensors, known) for name, part in content["fields"].items()})


def _digest(content: Any, tensors: dict[str, Tensor]) -> str:
    """Compute a checksum of all content, since a flipped bit would silently give another plan."""
    total = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
