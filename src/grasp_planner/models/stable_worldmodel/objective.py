"""Convert objectives of stable-worldmodel (GoalMSE, ControlPenalty, WeightedSum) to objectives of this package."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import GoalDistance
from grasp_planner.models.stable_worldmodel.model import StableWorldModel


def objective_like(given: Any, model: StableWorldModel) -> tuple[GoalDistance, float]:
    """Convert an objective of stable-worldmodel to an objective of this package.

    The largest weight becomes 1, so that the distance to a goal and a defect of the dynamics have the same unit.

    Args:
        given: an objective of stable-worldmodel; ``None``: the goal distance with the model's own weights.
        model: the world model of the latents.

    Returns:
        The objective, and the factor by which its costs are multiplied to be in units of the given objective.

    Raises:
        GraspPlannerError: this kind of objective is unknown, or it compares a part that the latent does not contain.
    """
    if given is None:
        return GoalDistance(model.goal_weights), 1.0
    weights, effort = _terms(given, model)
    factor = float((weights / model.scale**2).max())
    if factor <= 0:
        raise GraspPlannerError("the objective must give some part of the latent a positive weight, got none")
    return GoalDistance(weights / factor, effort=effort / factor), factor


def _terms(given: Any, model: StableWorldModel) -> tuple[Tensor, float]:
    """Return the weights of the coordinates, in units of the scale, and the weight of the squared action."""
    kind = type(given).__name__
    nothing = model.goal_weights.new_zeros(model.goal_weights.shape)
    if kind == "GoalMSE":
        parts = model.part_weights()
        name = str(given.pred_key).removeprefix("predicted_")
        # The goal of the part "emb" has the key "goal_emb", the goal of "pixels_emb" has the key "pixels_goal_emb".
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
