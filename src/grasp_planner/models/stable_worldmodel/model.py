"""Models of stable-worldmodel (LeWM, PLDM, PreJEPA, TD-MPC2) as world models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.models.history import by_length, check_history, marked, repeated
from grasp_planner.models.patches.model import UseSettings
from grasp_planner.models.pictures import Pictures
from grasp_planner.models.stable_worldmodel.cores import CORES, goal_weights
from grasp_planner.models.units import Statistics, block_bounds, from_environment, to_environment


class StableWorldModel(nn.Module):
    """A model of stable-worldmodel behind the interface that planners use.

        s = [ latent of one frame , mark ]      mark: 0 for a frame, large where none was seen yet

    Latents of windows, not Markov steps: LeWM, PLDM and PreJEPA read several frames, and a window of which fewer were
    seen is predicted from those, as in their own ``rollout``.

    Args:
        model: the model; it becomes a part of this module and is not copied.
        statistics: of environment actions (and of ``"proprio"``, where the model reads it raw).
        frameskip: environment steps in a model step (their ``action_block``).
        kind: ``"LeWM"``, ``"PLDM"``, ``"PreJEPA"`` or ``"TDMPC2"``; ``None``: the name of the model's class.
        pictures: how camera pictures are prepared; ``None``: pixels come as the model takes them, (b, h, 3, rows,
            columns) and normalised.
        use: weight of parts other than pixels in goals, history, bounds, scale.

    Attributes:
        context: h, frames that one prediction reads.
        keys: observations that ``encode`` reads.
        low, high: (a,) bounds of a model action.
        scale: (s,) typical size of each latent coordinate.
        goal_weights: (s,) for ``GoalDistance``.

    Raises:
        GraspPlannerError: the model is of another kind, or lacks what its kind has.

    Source: stable-worldmodel 0.1.1 and its main branch of August 2026. TD-MPC2 plans for a goal here, not for reward.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    goal_weights: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(
        self,
        model: nn.Module,
        statistics: Statistics,
        frameskip: int,
        *,
        kind: str | None = None,
        pictures: Pictures | None = None,
        use: UseSettings | None = None,
    ) -> None:
        super().__init__()
        use = UseSettings() if use is None else use
        name = type(model).__name__ if kind is None else kind
        if name not in CORES:
            raise unknown_name("kind of stable-worldmodel model", name, CORES)
        self.core = CORES[name](model)
        self.context, self.frameskip, self.keys = self.core.context, frameskip, self.core.keys
        self.pictures, self.statistics = pictures, statistics
        self.history = check_history(use.history, self.context)
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        low, high = block_bounds(statistics, frameskip, use.bounds)
        marks = torch.zeros(self.marks)
        scale = torch.full((self.core.size + self.marks,), float(use.scale))
        weights = torch.cat([goal_weights(self.core, use.alpha), marks]) * scale**2
        buffers = {"low": low, "high": high, "scale": scale, "goal_weights": weights}
        buffers["action_mean"] = torch.tensor(statistics.action_mean)
        buffers["action_std"] = torch.tensor(statistics.action_std)
        for key, value in buffers.items():
            self.register_buffer(key, value.to(like.device))

    @property
    def marks(self) -> int:
        """Coordinates of a latent after the frame: one where a window can be short."""
        return 0 if self.context == 1 else 1

    def part_weights(self) -> dict[str, Float[Tensor, " s"]]:
        """Masks of the parts of a latent, by the names that stable-worldmodel's ``GoalMSE`` has for them."""
        blank = torch.zeros(self.marks)
        return {name: torch.cat([mask, blank]).to(self.low) for name, mask in self.core.parts().items()}

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """The latent that follows each window."""
        if not self.marks:
            return self.core.after(states, actions)
        return by_length(self.core.after, states, actions)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Latents of the observations named in ``keys``, each (b, h, ...); all others are ignored.

        Raises:
            GraspPlannerError: one is missing, or has another number of frames.
        """
        if missing := [key for key in self.keys if key not in observations]:
            raise GraspPlannerError(f"encode needs observations {missing}, got the keys {sorted(observations)}")
        given = {key: torch.as_tensor(observations[key]).to(self.low.device) for key in self.keys}
        shapes = {key: tuple(value.shape[:2]) for key, value in given.items()}
        if len(set(shapes.values())) != 1:
            raise GraspPlannerError(f"observations must all have the same (b, h) in front, got {shapes}")
        absent = repeated(given, self.keys)
        latents = self.core.encode({key: self._prepared(key, value) for key, value in given.items()}).to(self.low)
        if latents.shape[-1] != self.core.size:
            raise GraspPlannerError(
                f"the model's predictor takes latents of {self.core.size} numbers; its encoder gave {latents.shape[-1]}"
            )
        if not self.marks:
            return latents
        absent[:, : max(0, absent.shape[1] - self.history)] = True
        return marked(latents, absent)

    def _prepared(self, key: str, value: Tensor) -> Tensor:
        """An observation as the model takes it."""
        if key == "pixels" and self.pictures is not None:
            return self.pictures(value, self.low).unflatten(0, value.shape[:2])
        if key == "proprio" and self.statistics.proprio_mean:
            mean = self.low.new_tensor(self.statistics.proprio_mean)
            return (value.to(self.low) - mean) / self.low.new_tensor(self.statistics.proprio_std)
        return value

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """The environment actions in each block, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """The inverse: blocks of environment actions in the model's units."""
        return from_environment(actions, self.action_mean, self.action_std)


def from_stable_worldmodel(
    model: nn.Module,
    statistics: Statistics,
    frameskip: int,
    *,
    kind: str | None = None,
    pictures: Pictures | None = None,
    use: UseSettings | None = None,
) -> StableWorldModel:
    """A loaded model of stable-worldmodel for use with ``Agent``, frozen and in evaluation mode.

    Load it with that package (``load_pretrained``; its config names classes that are then run, so know where it comes
    from). Inside stable-worldmodel's own policy, use
    :class:`grasp_planner.models.stable_worldmodel.solver.WorldModelSolver`.

    Args and errors: see :class:`StableWorldModel`.
    """
    wrapped = StableWorldModel(model, statistics, frameskip, kind=kind, pictures=pictures, use=use)
    return wrapped.eval().requires_grad_(False)
