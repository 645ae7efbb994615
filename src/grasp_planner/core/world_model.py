"""What a world model offers besides its dynamics: encoding, units of actions, decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.objectives import GoalDistance


@runtime_checkable
class WorldModel(Protocol):
    """A ``Dynamics`` that an agent can use: it knows its own units and how to encode observations.

    Structural, nothing to inherit. ``check_world_model`` tests a model against this contract.

    Attributes:
        context: h, the states and actions that one prediction reads.
        frameskip: environment steps in one model step; a model action is a block of that many environment actions.
        low: (a,) lower bounds of a model action, in the model's own (normalised) units.
        high: (a,) upper bounds.
        scale: (s,) typical size of each latent coordinate, > 0.
    """

    context: int
    frameskip: int

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
        """The state that follows each window; rows are independent of each other."""
        ...

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Latents of a mapping of (b, h, ...) arrays or tensors."""
        ...


@runtime_checkable
class ActionUnits(Protocol):
    """The optional part of a world model whose actions are normalised; one without it has environment units."""

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """The environment actions in each block, earliest first, in the environment's units."""
        ...

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """The inverse: blocks of environment actions as model actions."""
        ...


@runtime_checkable
class StateDecoder(Protocol):
    """The optional part of a world model that can say which environment state a latent stands for."""

    def decode_state(self, latents: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """The environment's state vector, in its own units."""
        ...


@runtime_checkable
class SeesPictures(Protocol):
    """The optional part of a world model that reads ``observations["pixels"]``."""

    pixels: int
    """Side of the pictures that it reads, in px."""


@runtime_checkable
class GoalWeights(Protocol):
    """The optional part of a world model that knows which of its coordinates a goal asks for."""

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weights for ``GoalDistance``."""
        ...


def goal_objective(model: WorldModel) -> GoalDistance:
    """The distance to a goal as the model itself would weigh it; all coordinates alike where it does not say."""
    return GoalDistance(model.goal_weights) if isinstance(model, GoalWeights) else GoalDistance()


def environment_actions(model: WorldModel, actions: Tensor) -> Tensor:
    """Model actions ``(..., a)`` as blocks ``(..., frameskip, e)`` of environment actions, in its units."""
    if isinstance(model, ActionUnits):
        return model.environment_actions(actions)
    return actions.unflatten(-1, (model.frameskip, -1))


def idle_block(model: WorldModel) -> Tensor:
    """The model action ``(a,)`` that stands for doing nothing in the environment: zero in *its* units."""
    zero = torch.zeros_like(model.low)
    if isinstance(model, ActionUnits):
        return model.model_actions(torch.zeros_like(model.environment_actions(zero)))
    return zero
