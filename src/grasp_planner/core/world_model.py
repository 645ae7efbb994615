"""The interface of world models: encoding and action bounds, and optional parts such as action units and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.objectives import GoalDistance


@runtime_checkable
class WorldModel(Protocol):
    """A ``Dynamics`` that also encodes observations, and has action bounds, a frameskip and a latent scale.

    The protocol is structural: a model inherits nothing. ``check_world_model`` tests a model against this contract.

    Attributes:
        context: h, the states and actions that one prediction reads.
        frameskip: environment steps in one model step; a model action is a block of that many environment actions.
        low: (a,) lower bounds of a model action, in the model's own (normalised) units.
        high: (a,) upper bounds.
        scale: (s,) typical size of each latent coordinate, > 0.

    Example:
        >>> from grasp_planner import load_world_model
        >>> model = load_world_model("pusht-state")
        >>> isinstance(model, WorldModel), model.context, model.frameskip
        (True, 1, 5)
        >>> model.encode({"state": torch.zeros(4, 1, 7)}).shape
        torch.Size([4, 1, 8])
    """

    @property
    def context(self) -> int:
        """h, the states and actions that one prediction reads."""
        ...

    @property
    def frameskip(self) -> int:
        """Environment steps in one model step."""
        ...

    @property
    def low(self) -> Float[Tensor, " a"]:
        """(a,) lower bounds of a model action."""
        ...

    @property
    def high(self) -> Float[Tensor, " a"]:
        """(a,) upper bounds of a model action."""
        ...

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) typical size of each latent coordinate."""
        ...

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the state that follows each window. Rows are independent of each other."""
        ...

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode observations, a mapping of names to arrays or tensors (b, h, ...), as latents (b, h, s)."""
        ...


@runtime_checkable
class ActionUnits(Protocol):
    """Optional: the actions of the world model are normalised. Otherwise, they are in the environment's units.

    Example:
        >>> from grasp_planner import load_world_model
        >>> model = load_world_model("pusht-state")
        >>> isinstance(model, ActionUnits), model.environment_actions(torch.zeros(4, 10)).shape
        (True, torch.Size([4, 5, 2]))
    """

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert blocks to environment actions, earliest first, in the environment's units."""
        ...

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert blocks of environment actions to model actions."""
        ...


@runtime_checkable
class StateDecoder(Protocol):
    """Optional: the world model decodes latents to environment states.

    Example:
        >>> from grasp_planner import load_world_model
        >>> model = load_world_model("pusht-state")
        >>> isinstance(model, StateDecoder), model.decode_state(torch.zeros(4, 8)).shape
        (True, torch.Size([4, 7]))
    """

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Decode latents to the environment's state vector, in the environment's units."""
        ...


@runtime_checkable
class SeesPictures(Protocol):
    """Optional: the world model reads ``observations["pixels"]``."""

    pixels: int
    """Side of the pictures that the model reads, in px."""


@runtime_checkable
class GoalWeights(Protocol):
    """Optional: the world model says how much each latent coordinate counts in the distance to a goal."""

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weights for ``GoalDistance``."""
        ...


def goal_objective(model: WorldModel) -> GoalDistance:
    """Return the distance to the goal, weighted by ``model.goal_weights`` if the model has them.

    Args:
        model: the world model. ``goal_weights`` is ``(s,)``; without it, all latent coordinates count equally.

    Example:
        >>> from grasp_planner import load_world_model
        >>> goal_objective(load_world_model("pusht-state")).weights_like(torch.zeros(8))
        tensor([1., 1., 1., 1., 1., 1., 0., 0.])
    """
    return GoalDistance(model.goal_weights) if isinstance(model, GoalWeights) else GoalDistance()


def environment_actions(model: WorldModel, actions: Tensor) -> Tensor:
    """Convert model actions to blocks of environment actions.

    Args:
        model: the world model. Its actions are in the environment's units, unless it has ``environment_actions``.
        actions: ``(..., a)`` model actions, such as ``(b, t, a)`` of a plan, in the model's units.

    Returns:
        ``(..., frameskip, e)`` environment actions in the environment's units, earliest first; a = frameskip * e.

    Example:
        >>> from grasp_planner import load_world_model
        >>> environment_actions(load_world_model("pusht-state"), torch.zeros(4, 12, 10)).shape
        torch.Size([4, 12, 5, 2])
    """
    if isinstance(model, ActionUnits):
        return model.environment_actions(actions)
    return actions.unflatten(-1, (model.frameskip, -1))


def model_actions(model: WorldModel, actions: Tensor) -> Tensor:
    """Convert blocks ``(..., frameskip, e)`` of environment actions to model actions ``(..., a)``."""
    return model.model_actions(actions) if isinstance(model, ActionUnits) else actions.flatten(-2)


def idle_block(model: WorldModel) -> Tensor:
    """Return the model action ``(a,)`` for a block of environment actions that are all zero."""
    return model_actions(model, torch.zeros_like(environment_actions(model, torch.zeros_like(model.low))))


def one_moment_repeated(observations: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Repeat observations of a single moment ``(b, 1, ...)`` to ``(b, count, ...)``; keep longer observations."""
    repeated = {}
    for key, value in observations.items():
        single = getattr(value, "ndim", 0) >= 2 and value.shape[1] == 1 and count > 1
        many = torch.as_tensor(value) if single else value
        repeated[key] = many.expand(-1, count, *many.shape[2:]) if single else many
    return repeated
