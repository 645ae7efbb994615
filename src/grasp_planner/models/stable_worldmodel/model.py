"""Models of stable-worldmodel (LeWM, PLDM, PreJEPA, TD-MPC2) as world models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.normalisation import Statistics, block_bounds, from_environment, to_environment
from grasp_planner.models.picture_transform import Pictures
from grasp_planner.models.short_windows import by_length, marked, repeated
from grasp_planner.models.stable_worldmodel.cores import EmbeddingCore, PreJEPACore, TDMPC2Core, core_of, goal_weights
from grasp_planner.models.use_settings import UseSettings


class StableWorldModel(nn.Module):
    """A model of stable-worldmodel as a world model of this package.

        s = [ latent of one frame , mark ]      mark: 0 for a frame, 1000 for a missing frame

    LeWM, PLDM and PreJEPA read windows of several frames. A window with fewer observed frames is predicted from the
    observed frames, as in the models' own ``rollout``. See ``grasp_planner.models.short_windows``.

    Args:
        core: the model in its adapter, from ``core_of``.
        statistics: statistics of environment actions (and of ``"proprio"``, if the model reads normalised
            proprioception).
        frameskip: environment steps in a model step (``action_block`` in stable-worldmodel).
        pictures: transform of camera pictures; ``None``: observations hold pixels in the form that the model reads,
            normalised (b, h, 3, rows, columns).
        use: settings for planning: weight of parts other than pixels in goals, history, bounds, scale.

    Attributes:
        context: h, number of frames that one prediction reads.
        frameskip: environment steps in a model step.
        keys: the observations that ``encode`` reads.
        low, high: (a,) bounds of a model action.
        scale: (s,) typical size of each latent coordinate.
        goal_weights: (s,) weights for ``GoalDistance``.

    Raises:
        GraspPlannerError: ``use`` or ``statistics`` do not fit the model.

    Source: stable-worldmodel 0.1.1 and its main branch of August 2026. Difference: by default, TD-MPC2 plans
    for a goal here. With ``tdmpc2_return``, it plans for rewards.
    """

    action_mean: Tensor
    action_std: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    goal_weights: Tensor

    def __init__(
        self,
        core: EmbeddingCore | PreJEPACore | TDMPC2Core,
        statistics: Statistics,
        frameskip: int,
        *,
        pictures: Pictures | None = None,
        use: UseSettings | None = None,
    ) -> None:
        super().__init__()
        use = UseSettings() if use is None else use
        self.core = core
        self.context, self.frameskip, self.keys = core.context, frameskip, core.keys
        self.pictures, self.statistics = pictures, statistics
        self.history = use.frames(self.context)
        like = next((p for p in core.parameters() if p.is_floating_point()), torch.zeros(()))
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
        """Number of marks in a latent: 1, or 0 for a model of context 1."""
        return 0 if self.context == 1 else 1

    def part_weights(self) -> dict[str, Float[Tensor, " s"]]:
        """Masks of the parts of a latent, by the names in stable-worldmodel's ``GoalMSE``."""
        blank = torch.zeros(self.marks)
        return {name: torch.cat([mask, blank]).to(self.low) for name, mask in self.core.parts().items()}

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the latent that follows each window."""
        if not self.marks:
            return self.core.after(states, actions)
        return by_length(self.core.after, states, actions)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode the observations named in ``keys``, each (b, h, ...); other observations are ignored.

        Raises:
            GraspPlannerError: an observation is missing, or has another number of frames than the first observation.
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
        return marked(latents, absent, self.history)

    def _prepared(self, key: str, value: Tensor) -> Tensor:
        """Prepare an observation for the model."""
        if key == "pixels" and self.pictures is not None:
            return self.pictures(value, self.low).unflatten(0, value.shape[:2])
        if key == "proprio" and self.statistics.proprio_mean:
            mean = self.low.new_tensor(self.statistics.proprio_mean)
            return (value.to(self.low) - mean) / self.low.new_tensor(self.statistics.proprio_std)
        return value

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions, earliest first, in the environment's units."""
        return to_environment(actions, self.action_mean, self.action_std)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
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
    """Wrap a loaded model of stable-worldmodel for use with ``Agent``, frozen and in evaluation mode.

    Load the model with stable-worldmodel (``load_pretrained``). A config of stable-worldmodel names classes, whose code
    is then run, so load only files that you trust. Inside stable-worldmodel's own policy, use
    :class:`grasp_planner.models.stable_worldmodel.solver.WorldModelSolver`.

    Args:
        model: the model; it becomes a part of the result and is not copied.
        statistics: see :class:`StableWorldModel`.
        frameskip: see :class:`StableWorldModel`.
        kind: ``"LeWM"``, ``"PLDM"``, ``"PreJEPA"`` or ``"TDMPC2"``; ``None``: the name of the model's class.
        pictures: see :class:`StableWorldModel`.
        use: see :class:`StableWorldModel`.

    Raises:
        GraspPlannerError: the kind is unknown, or the model lacks an attribute of its kind.

    Example:
        >>> units = Statistics(action_mean=(0.0, 0.0), action_std=(0.2, 0.2))
        >>> from_stable_worldmodel(load_pretrained("user/lewm"), units, frameskip=5)  # doctest: +SKIP
    """
    wrapped = StableWorldModel(core_of(model, kind), statistics, frameskip, pictures=pictures, use=use)
    return wrapped.eval().requires_grad_(False)
