"""Score the first plan, and detect a model that changes or is random although its modules were frozen."""

from __future__ import annotations

import random
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Scored, score
from grasp_planner.core.problem import Problem
from grasp_planner.core.reachable import modules_among, reachable
from grasp_planner.planning.meter import Meter
from grasp_planner.wrappers.compiled import Compiled

_HOW = (
    "Pass the module so that it is found: as the model itself, as an attribute of the model, or in the function of "
    "Markov(fn), as in Markov(lambda state, action: net(state, action)). Or call net.eval() and "
    "net.requires_grad_(False) before planning"
)


def score_first(problem: Problem, actions: Tensor) -> Scored:
    """Score the first plan as ``score`` does, with the same model calls.

    Raises:
        GraspPlannerError: a module whose code reads ``training`` ran in training mode, a buffer of the model was
            written to, or the model's predictions are random.
    """
    parts = list(reachable(problem.dynamics, problem.objective))
    buffers = [
        (type(module).__name__, name, buffer, buffer._version)
        for module in modules_among(parts)
        for name, buffer in module.named_buffers(recurse=False)
        if not buffer.is_inference()  # inference tensors have no version
    ]
    before = _random_state(actions.device)
    try:
        # The hook would make torch compile a compiled model a second time.
        with nullcontext() if any(map(_is_compiled, parts)) else _refusing_training_mode():
            scored = score(problem, actions)
        for kind, name, buffer, version in buffers:
            if buffer._version != version:
                raise GraspPlannerError(
                    f"the model writes to its buffer {name!r}, of a {kind}, in eval mode, so equal calls may differ: "
                    "let forward() leave buffers as they are"
                )
        if not _equal(before, _random_state(actions.device)) and _answers_at_random(problem, actions):
            raise GraspPlannerError(
                f"equal calls of the model differ: it draws from the global random state, as dropout in training mode "
                f"does. {_HOW}. Noise that belongs to the model must come from a random generator of the model's own"
            )
    except GraspPlannerError:
        _restore(before, actions.device)
        raise
    return scored


@contextmanager
def _refusing_training_mode() -> Iterator[None]:
    """Raise an error if a module whose code reads ``training`` is called in training mode in this thread."""
    thread = threading.get_ident()

    def refuse(module: nn.Module, _: object) -> None:
        if module.training and threading.get_ident() == thread and _asks_for_its_mode(type(module)):
            raise GraspPlannerError(
                f"a {type(module).__name__} in training mode ran: planning did not find that module, and so could not "
                f"put it into eval mode. {_HOW}"
            )

    hook = register_module_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


def _asks_for_its_mode(kind: type) -> bool:
    """Return whether a method of a module class reads ``training``, as in dropout and batch norm."""
    own = kind.__mro__[: kind.__mro__.index(nn.Module)]
    methods = [member for cls in own for member in vars(cls).values() if isinstance(member, types.FunctionType)]
    return any("training" in method.__code__.co_names for method in methods)


def _is_compiled(part: object) -> bool:
    """Return whether a part of a model is compiled, or is the attribute dictionary of a compiled function."""
    if issubclass(type(part), nn.Module):
        return part._compiled_call_impl is not None  # type: ignore[attr-defined]
    return type(part) is Compiled or (type(part) is dict and "_torchdynamo_orig_callable" in part)


def _answers_at_random(problem: Problem, actions: Tensor) -> bool:
    """Return whether equal calls differ because of the global random state, which other threads may move, too.

    These calls of the model are not counted. They are made only if the state has moved.
    """
    meter = problem.dynamics
    unmetered = problem.through(meter.model) if isinstance(meter, Meter) else problem
    actions = problem.clamp(actions + 1.0)  # the first actions are often zero, and may multiply noise
    answers = []
    for _ in range(2):
        before = _random_state(actions.device)
        answers.append(score(unmetered, actions))
        if _equal(before, _random_state(actions.device)):
            return False
    return any(not torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(*answers, strict=True))


def _random_state(device: torch.device) -> tuple[Any, ...]:
    """Return the global random states of torch, numpy and Python."""
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), on_device, numpy.random.get_state(legacy=False), random.getstate()


def _restore(state: tuple[Any, ...], device: torch.device) -> None:
    on_cpu, on_device, of_numpy, of_python = state
    torch.set_rng_state(on_cpu)
    if on_device is not None:
        torch.cuda.set_rng_state(on_device, device)
    numpy.random.set_state(of_numpy)
    random.setstate(of_python)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, tuple):
        return all(map(_equal, first, second))
    if isinstance(first, dict):
        return all(_equal(first[key], second[key]) for key in first)
    return torch.equal(first, second) if isinstance(first, Tensor) else numpy.array_equal(first, second)
