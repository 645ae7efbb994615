"""What a world model offers besides its dynamics, and how a saved one is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.errors import GraspPlannerError, unknown_name
from grasp_planner.models.files import CONFIG_FILE, read_config
from grasp_planner.objectives import GoalDistance


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
class GoalWeights(Protocol):
    """The optional part of a world model that knows which of its coordinates a goal asks for."""

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) weights for ``GoalDistance``."""
        ...


def goal_objective(model: WorldModel) -> GoalDistance:
    """The distance to a goal as the model itself would weigh it; all coordinates alike where it does not say."""
    return GoalDistance(model.goal_weights) if isinstance(model, GoalWeights) else GoalDistance()


def checkpoints() -> dict[str, Path]:
    """The checkpoints that come with the package: name -> folder.

    >>> "pusht-state" in checkpoints()
    True
    """
    folder = Path(__file__).parent / "checkpoints"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG_FILE}"))}


def load_world_model(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> WorldModel:
    """A trained world model, frozen and in evaluation mode; no network access, no pickle.

    Args:
        name_or_path: a packaged name (see ``checkpoints()``) or a folder that holds ``config.json`` and
            ``model.safetensors``.
        device: where its tensors go.

    Raises:
        GraspPlannerError: no such name or folder, a kind of model that is not known, or files that are missing,
            truncated or do not fit together.

    Example:
        >>> model = load_world_model("pusht-state")
        >>> model.frameskip, tuple(model.low.shape), tuple(model.scale.shape)
        (5, (10,), (8,))
    """
    folder = _folder(name_or_path)
    kind = read_config(folder).get("kind")
    if kind != "state":
        raise unknown_name("kind of model in " + str(folder / CONFIG_FILE), str(kind), ("state",))
    from grasp_planner.models.state import StateModel

    return StateModel.from_pretrained(folder, device=device)


def _folder(name_or_path: str | Path) -> Path:
    packaged = checkpoints()
    if isinstance(name_or_path, str) and name_or_path in packaged:
        return packaged[name_or_path]
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise GraspPlannerError(
            f"a checkpoint is a folder with {CONFIG_FILE} and weights beside it, got the file {folder}"
        )
    if isinstance(name_or_path, Path) or folder.name != str(name_or_path):
        raise GraspPlannerError(
            f"no folder {folder}: give a folder with {CONFIG_FILE}, or one of {', '.join(sorted(packaged))}"
        )
    raise unknown_name("checkpoint", str(name_or_path), packaged)
