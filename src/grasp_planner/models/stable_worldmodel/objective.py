"""Objectives of stable-worldmodel (GoalMSE, ControlPenalty, WeightedSum) as objectives of this package."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import GoalDistance
from grasp_planner.models.stable_worldmodel.model import StableWorldModel


def objective_like(given: Any, model: StableWorldModel) -> tuple[GoalDistance, float]:
    """The same objective for this model, and what its costs are to be multiplied by to be in the given one's units.

    The largest weight becomes 1, so that distances to a goal and defects of the dynamics compare.

    Args:
        given: an objective of stable-worldmodel; ``None``: the distance as the model itself weighs it.
        model: whose latents are judged.

    Raises:
        GraspPlannerError: it is of another kind, or compares something that the model's latent does not hold.
    """
    if given is None:
        return GoalDistance(model.goal_weights), 1.0
    weights, effort = _terms(given, model)
    factor = float((weights / model.scale**2).max())
    if factor <= 0:
        raise GraspPlannerError("the objective must give some part of the latent a positive weight, got none")
    return GoalDistance(weights / factor, effort=effort / factor), factor


def _terms(given: Any, model: StableWorldModel) -> tuple[Tensor, float]:
    """Weights of coordinates, in units of the scale, and of the squared action."""
    kind = type(given).__name__
    nothing = model.goal_weights.new_zeros(model.goal_weights.shape)
    if kind == "GoalMSE":
        parts = model.part_weights()
        name = str(given.pred_key).removeprefix("predicted_")
        # The goal's key goes by the part's name, except that of the whole embedding: goal_emb, pixels_goal_emb.
        if name not in parts or given.goal_key != f"{name.removesuffix('emb')}goal_emb":
            raise GraspPlannerError(
                f"GoalMSE compares {given.pred_key!r} with {given.goal_key!r}; the parts of this model's latent are "
                f"{sorted(parts)}. Pass objective= to the solver"
            )
        mask = parts[name] * model.scale**2
        return (mask / float(parts[name].sum()) if given.reduction == "mean" else mask), 0.0
    if kind == "ControlPenalty":
        return nothing, 1.0
    if kind == "WeightedSum":
        total, effort = nothing, 0.0
        for weight, term in zip(given.weights, given.objectives, strict=True):
            weights, price = _terms(term, model)
            total, effort = total + float(weight) * weights, effort + float(weight) * price
        return total, effort
    raise GraspPlannerError(
        f"the objective {kind} is not known here (GoalMSE, ControlPenalty and WeightedSum are): pass objective= to the "
        "solver, an object with terminal(states, goal) and stage(states, actions, goal)"
    )
