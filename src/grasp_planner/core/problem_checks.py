"""Checks of a planning problem before planning starts."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch import Tensor

from grasp_planner.core.constraints import unconstrained
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import GoalDistance, Objective, discount_of


def as_tensors(problem: Any) -> dict[str, Tensor]:
    """Return the parts of a problem that were not given as tensors, as tensors like ``states``.

    Arrays of numpy and numbers are converted. The start takes the place of a goal that was not given.

    Raises:
        GraspPlannerError: there is no goal, and the objective needs a goal.
    """
    found: dict[str, Tensor] = {}
    states = problem.states
    if isinstance(states, numpy.ndarray):
        states = found["states"] = torch.as_tensor(states)
    if not isinstance(states, Tensor):
        return found  # `check_problem` reports the wrong type
    for name in ("past_actions", "goal", "scale", "low", "high"):
        value = getattr(problem, name)
        if isinstance(value, numpy.ndarray) and value.ndim > 0:
            found[name] = torch.as_tensor(value).to(states)
    if problem.goal is None:
        if discount_of(problem.objective) is None:
            raise GraspPlannerError(
                f"{type(problem.objective).__name__} needs a goal: pass goal=, or an objective of rewards such as "
                "DiscountedReturn"
            )
        found["goal"] = states[:, -1] if states.ndim == 3 and states.shape[1] else states
    past = found.get("past_actions", problem.past_actions)
    for name in ("low", "high"):
        value = getattr(problem, name)
        number = isinstance(value, (int, float, numpy.number)) and not isinstance(value, bool)
        if (number or getattr(value, "ndim", 1) == 0) and isinstance(past, Tensor) and past.ndim == 3:
            found[name] = torch.full((past.shape[2],), float(value), dtype=states.dtype, device=states.device)
    return found


def check_problem(problem: Any) -> None:
    """Raise unless the parts of a problem fit together.

    Args:
        problem: a :class:`~grasp_planner.core.problem.Problem`.

    Raises:
        GraspPlannerError: a part has a wrong type, shape, dtype, device or value, which the message names.
    """
    if not isinstance(problem.dynamics, Dynamics) or isinstance(problem.dynamics, type):
        raise GraspPlannerError(
            "dynamics must have `context: int` and be callable with (n, h, s) states and (n, h, a) actions; "
            f"got {type(problem.dynamics).__name__}. Wrap a function of one state and one action in Markov(fn)"
        )
    context = problem.dynamics.context
    if isinstance(context, bool) or not isinstance(context, int) or context < 1:
        raise GraspPlannerError(f"dynamics.context must be an integer >= 1, got {context!r}")
    if isinstance(problem.horizon, bool) or not isinstance(problem.horizon, int) or problem.horizon < 1:
        raise GraspPlannerError(f"horizon must be an integer >= 1 (model steps), got {problem.horizon!r}")

    tensors = {name: getattr(problem, name) for name in ("states", "past_actions", "goal", "low", "high")}
    if problem.scale is not None:
        tensors["scale"] = problem.scale
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise GraspPlannerError(f"{name} must be a tensor, got {type(value).__name__}")

    states = problem.states
    if states.ndim != 3 or states.shape[1] != context or 0 in states.shape:
        raise GraspPlannerError(
            f"states must be (b, h, s) with h = {context} (the model's context) and no empty axis, "
            f"got {tuple(states.shape)}"
        )
    if states.dtype not in (torch.float32, torch.float64):
        raise GraspPlannerError(
            f"states must be floating point, torch.float32 or torch.float64, got {states.dtype}: convert "
            "them; LowPrecision(model) evaluates a model in lower precision"
        )
    if problem.low.ndim != 1 or problem.low.shape[0] == 0:
        raise GraspPlannerError(f"low must be (a,), got {tuple(problem.low.shape)}")
    batch, _, latent = states.shape
    expected = {
        "past_actions": (batch, context - 1, problem.low.shape[0]),
        "goal": (batch, latent),
        "high": tuple(problem.low.shape),
        "scale": (latent,),
    }
    for name, value in tensors.items():
        if name in expected and tuple(value.shape) != expected[name]:
            raise GraspPlannerError(
                f"{name} must be {expected[name]} to go with states {tuple(states.shape)} and low "
                f"{tuple(problem.low.shape)}, got {tuple(value.shape)}"
            )
        if value.dtype != states.dtype or value.device != states.device:
            raise GraspPlannerError(
                f"{name} must be {states.dtype} on {states.device} like states, got {value.dtype} on {value.device}"
            )

    for name in ("states", "past_actions", "goal"):
        bad = ~torch.isfinite(tensors[name]).flatten(1).all(1)
        if bool(bad.any()):
            rows = bad.nonzero().flatten().tolist()
            raise GraspPlannerError(f"{name} must be finite, got NaN or infinity in problem(s) {rows[:10]}")
    if not bool((problem.low <= problem.high).all()):
        raise GraspPlannerError(
            f"bounds must satisfy low <= high in every coordinate, got low {problem.low.tolist()}, "
            f"high {problem.high.tolist()}"
        )
    if bool((problem.low == torch.inf).any()) or bool((problem.high == -torch.inf).any()):
        raise GraspPlannerError("bounds leave no action: low is +inf or high is -inf in some coordinate")
    if problem.scale is not None and not bool(((problem.scale > 0) & torch.isfinite(problem.scale)).all()):
        raise GraspPlannerError(f"scale must be finite and > 0 in every coordinate, got {problem.scale.tolist()}")

    if not isinstance(problem.objective, Objective) or isinstance(problem.objective, type):
        raise GraspPlannerError(
            "objective must have methods terminal(states, goal) and stage(states, actions, goal), "
            f"got {type(problem.objective).__name__}"
        )
    distance = unconstrained(problem.objective)
    if isinstance(distance, GoalDistance) and distance.weights is not None:
        given = len(distance.weights)
        if given != latent:
            raise GraspPlannerError(f"GoalDistance.weights must be ({latent},) like a state, got ({given},)")
