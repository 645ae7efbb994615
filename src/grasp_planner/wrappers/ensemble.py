"""``Ensemble``: several models as one model, with the disagreement of the members as a latent coordinate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.constraints import Constrained
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import Objective
from grasp_planner.core.world_model import WorldModel, environment_actions, goal_objective, model_actions


class Ensemble:
    """A world model that predicts the mean of its members; the last latent coordinate is their disagreement.

        s = [ z , u ]      z' = mean_i f_i(z, a)      u' = root mean square over coordinates of std_i f_i(z, a) / scale

    u is the disagreement of the prediction that led to the state. For observed states, u is 0. Since u is a part of the
    state, an objective can penalise u (:class:`Cautious`) without further model calls, for models of any context. The
    weight of u in ``goal_weights`` is 0.

    Agreement does not prove that a prediction is right. Members trained on the same data can make the same errors
    outside of the data.

    Args:
        members: two or more world models with the same latent space, context, frameskip and action units. The first
            member encodes observations, so the others must have been trained on its latents.

    Raises:
        GraspPlannerError: there are fewer than two members, or they do not fit together.

    Example:
        >>> from grasp_planner.models import Cautious, Ensemble, load_world_model
        >>> ensemble = Ensemble([load_world_model("pusht-state"), load_world_model("pusht-state")])
        >>> states, actions = torch.zeros(4, 1, 9), torch.zeros(4, 1, 10)
        >>> ensemble.disagreement(states, actions)
        tensor([0., 0., 0., 0.])
        >>> objective = Cautious(ensemble.goal_objective(), weight=10.0)

    Source: Plan2Explore (arXiv 2005.05960), with the opposite sign: disagreement is a cost.
    """

    def __init__(self, members: Sequence[WorldModel]) -> None:
        if len(members) < 2:
            raise GraspPlannerError(f"an ensemble needs two models or more, got {len(members)}")
        first = members[0]
        for place, other in enumerate(members[1:], start=1):
            if (other.context, other.frameskip) != (first.context, first.frameskip) or not (
                torch.equal(other.low, first.low)
                and torch.equal(other.high, first.high)
                and other.scale.shape == first.scale.shape
            ):
                raise GraspPlannerError(
                    "members of an ensemble must have the same context, frameskip, bounds and latent size; member "
                    f"{place} differs from member 0"
                )
        self.members = list(members)
        self.context, self.frameskip = first.context, first.frameskip

    @property
    def low(self) -> Float[Tensor, " a"]:
        """(a,) lower bounds of a model action."""
        return self.members[0].low

    @property
    def high(self) -> Float[Tensor, " a"]:
        """(a,) upper bounds."""
        return self.members[0].high

    @property
    def scale(self) -> Float[Tensor, " s"]:
        """(s,) the members' scale, and 1 for the disagreement, which is in units of that scale."""
        scale = self.members[0].scale
        return torch.cat([scale, scale.new_ones(1)])

    @property
    def goal_weights(self) -> Float[Tensor, " s"]:
        """(s,) the goal weights of the first member, and 0 for the disagreement."""
        scale = self.members[0].scale
        return torch.cat([goal_objective(self.members[0]).weights_like(scale), scale.new_zeros(1)])

    def goal_objective(self) -> Objective:
        """Return the distance to a goal with the weights of the first member; disagreement has the weight 0."""
        return goal_objective(self)

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the mean and the disagreement."""
        return self.distribution(states, actions)[0]

    def disagreement(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, " n"]:
        """Return the disagreement u' after one step from each window, in units of ``scale``."""
        return self(states, actions)[:, -1]

    def distribution(
        self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Return mean and standard deviation over the members, for ``Sampled``. The disagreement has deviation 0."""
        after = torch.stack([model(states[..., :-1], actions) for model in self.members])
        mean = after.mean(0)
        variance = (after - mean).square().mean(0)
        apart = _root((variance / self.members[0].scale.square()).mean(-1, keepdim=True))
        return torch.cat([mean, apart], dim=-1), torch.cat([_root(variance), torch.zeros_like(apart)], dim=-1)

    def encode(self, observations: Mapping[str, Any]) -> Float[Tensor, "b h s"]:
        """Encode observations with the first member, and append the disagreement 0."""
        latents = self.members[0].encode(observations)
        return torch.cat([latents, latents.new_zeros(*latents.shape[:2], 1)], dim=-1)

    def environment_actions(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch frameskip e"]:
        """Convert action blocks to environment actions with the units of the first member."""
        return environment_actions(self.members[0], actions)

    def model_actions(self, actions: Float[Tensor, "*batch frameskip e"]) -> Float[Tensor, "*batch a"]:
        """Convert environment actions to action blocks: the inverse of ``environment_actions``."""
        return model_actions(self.members[0], actions)


def _root(squares: Tensor) -> Tensor:
    """Return the square root. Its derivative is defined as 0 at 0, where members agree exactly."""
    zero = squares <= torch.finfo(squares.dtype).tiny
    return torch.where(zero, torch.zeros_like(squares), torch.where(zero, torch.ones_like(squares), squares).sqrt())


@dataclass(frozen=True, eq=False)
class Cautious:
    """An objective for an :class:`Ensemble`: another objective plus the disagreement of every prediction.

        l = l_0(s_t, a_t, g) + weight * u_t,      phi = phi_0(s_T, g) + weight * u_T

    Args:
        objective: an objective on latents of the ensemble; ``ensemble.goal_objective()`` gives u the weight 0.
        weight: cost of one unit of disagreement.

    Raises:
        GraspPlannerError: the weight is negative, or the objective has constraints, which belong around ``Cautious``.

    Example:
        >>> from grasp_planner import GoalDistance
        >>> objective = Cautious(GoalDistance(weights=(1.0, 0.0)), weight=10.0)
        >>> objective.terminal(torch.tensor([3.0, 2.0]), torch.zeros(2))  # 3^2 + 10 * 2
        tensor(29.)
    """

    objective: Objective
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise GraspPlannerError(f"Cautious.weight must be a number >= 0, got {self.weight!r}")
        if isinstance(self.objective, Constrained):
            raise GraspPlannerError(
                "Cautious.objective must be an objective without constraints, got Constrained: "
                "use Constrained(Cautious(objective), event)"
            )

    def terminal(self, states: Float[Tensor, "*batch s"], goal: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return the objective's terminal cost plus the disagreement of the last prediction."""
        return self.objective.terminal(states, goal) + self.weight * states[..., -1]

    def stage(
        self, states: Float[Tensor, "*batch s"], actions: Float[Tensor, "*batch a"], goal: Float[Tensor, "*batch s"]
    ) -> Float[Tensor, "*batch"]:
        """Return the objective's stage cost plus the disagreement of the prediction that led to the state."""
        return self.objective.stage(states, actions, goal) + self.weight * states[..., -1]
