"""Plans and planner states in files that last: tensors and a JSON header, a version, a checksum, and no pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Plan, Scored, Snapshot, Trace, WarmStart
from grasp_planner.io.atomic import write_atomically
from grasp_planner.io.text_files import parse_json
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.descent import Moments
from grasp_planner.planners.gd import GDState
from grasp_planner.planners.grasp import GRASPState
from grasp_planner.planners.icem import ICEMState
from grasp_planner.planners.latco import LatCoState
from grasp_planner.planners.random_shooting import RandomShootingState
from grasp_planner.planners.sampling import Gaussian
from grasp_planner.planning.multi_start import MultiStartState
from grasp_planner.planning.sequential import SequentialState

VERSION = 1
_STATES = (
    GRASPState,
    GDState,
    Gaussian,
    ICEMState,
    MultiStartState,
    SequentialState,
    LatCoState,
    RandomShootingState,
    Moments,
    Scored,
)
_KNOWN: dict[str, type] = {
    cls.__name__: cls for cls in (*PLANNERS.values(), *_STATES, Plan, Trace, Snapshot, WarmStart)
}


def save_plan(plan: Plan, path: str | Path) -> Path:
    """Write a plan with its trace and its warm start to one file, which ``load_plan`` reads.

    The file is in the safetensors format, so other programs can read its tensors too.

    Args:
        plan: what ``grasp_planner.plan`` returned.
        path: of the file; replaced in one step, whenever the writer dies.

    Raises:
        GraspPlannerError: something in it is neither a tensor, a number nor a named tuple of such.

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
        >>> plan(problem, GD(), Budget(steps=10), warm_start=again.warm_start).warm_start.steps  # goes on, to the bit
        21
    """
    return _save(plan, "plan", path)


def load_plan(path: str | Path, *, device: str | torch.device = "cpu", known: Iterable[type] = ()) -> Plan:
    """The plan in a file of ``save_plan``; nothing in the file is run.

    Args:
        path: of the file.
        device: where its tensors go.
        known: planners and state types of your own that may be in it.

    Raises:
        GraspPlannerError: there is none, it is damaged, of a version or with a type that is not known, or not a plan.
    """
    return _load(Path(path), "plan", Plan, device, known)


def save_state(state: WarmStart, path: str | Path) -> Path:
    """Write where planning stopped, ``Plan.warm_start``, to one file: the planner, its settings, its state, its age."""
    return _save(state, "state", path)


def load_state(path: str | Path, *, device: str | torch.device = "cpu", known: Iterable[type] = ()) -> WarmStart:
    """What ``save_state`` wrote: passed to ``plan`` as ``warm_start``, planning goes on as if it had never stopped.

    Raises:
        GraspPlannerError: as for ``load_plan``.
    """
    return _load(Path(path), "state", WarmStart, device, known)


def _save(thing: Any, kind: str, path: str | Path) -> Path:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    content = _written(thing, kind, tensors)
    header = {"kind": kind, "version": VERSION, "content": content, "sha256": _digest(content, tensors)}
    target = Path(path)
    try:
        write_atomically(target, lambda file: save_file(tensors, file, {"grasp_planner": json.dumps(header)}))
    except OSError as error:
        raise GraspPlannerError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def _load(path: Path, kind: str, cls: type, device: str | torch.device, known: Iterable[type]) -> Any:
    from safetensors import safe_open

    if not path.is_file():
        raise GraspPlannerError(f"needed a file of save_{kind}, but there is none at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {}).get("grasp_planner", "null"))
            if not isinstance(header, dict) or header.get("kind") != kind:
                raise GraspPlannerError(f"{path} is no file of save_{kind}")
            if header.get("version") != VERSION:
                raise GraspPlannerError(
                    f"{path} is of version {header.get('version')!r} of this format, and this grasp-planner reads "
                    f"version {VERSION}: another one wrote it"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # a safe_open is no mapping
        if header.get("sha256") != _digest(header["content"], tensors):
            raise GraspPlannerError(f"{path} is damaged: its checksum does not fit; copy or make it again")
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        types = _KNOWN | {one.__name__: one for one in known}
        found = _read(header["content"], tensors, types)
    except GraspPlannerError:
        raise
    except Exception as error:  # a damaged file can make the reader raise almost anything
        raise GraspPlannerError(f"{path} is no whole file of save_{kind} ({type(error).__name__}: {error})") from error
    if not isinstance(found, cls):
        raise GraspPlannerError(f"{path} holds {type(found).__name__}, needed {cls.__name__}")
    return found


def _written(thing: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``thing`` as JSON, with its tensors put under names of their own."""
    if isinstance(thing, Tensor):
        tensors[name] = thing.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    parts = fields(thing) if is_dataclass(thing) and not isinstance(thing, type) else ()
    names = [part.name for part in parts] or list(getattr(thing, "_fields", ()))
    if names:
        content = {part: _written(getattr(thing, part), f"{name}.{part}", tensors) for part in names}
        return {"type": type(thing).__name__, "fields": content}
    if isinstance(thing, tuple):
        return {"tuple": [_written(part, f"{name}.{place}", tensors) for place, part in enumerate(thing)]}
    raise GraspPlannerError(
        f"{name} must be a tensor, a number, a text, a dataclass or a named tuple of such to be saved, "
        f"got {type(thing).__name__}"
    )


def _read(content: Any, tensors: dict[str, Tensor], known: dict[str, type]) -> Any:
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
    """A checksum of everything: a bit that flipped would be a wrong plan without a word."""
    total = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
