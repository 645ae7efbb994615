"""``Projected``: a model that reads states after a projection, for example on the training data."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.wrappers.model_wrapper import ModelWrapper


class Projected(ModelWrapper):
    """A model F whose input states are projected first: F(P(s), a).

    Learned models are accurate near their training data only. With a projection on the data, the model is never
    evaluated far from the data: neither in rollouts, nor at the virtual states of GRASP and LatCo. Actions are not
    projected. The states of a plan are the predictions, before the projection.

    Args:
        dynamics: the model.
        project: P, a function of states ``(n, h, s)`` in the model's own units that returns projected states of the
            same shape, row by row. Examples are ``project`` of a distance in ``grasp_planner.trust.data_distance`` with
            a fixed limit, and a denoiser.

    Raises:
        GraspPlannerError: when it is evaluated, ``project`` returns something other than states of the same shape and
            dtype.

    Example:
        >>> import torch
        >>> from grasp_planner import Markov
        >>> model = Projected(Markov(lambda state, action: state + action), lambda states: states.clamp(-1.0, 1.0))
        >>> model(torch.tensor([[[5.0]]]), torch.tensor([[[0.5]]]))
        tensor([[1.5000]])
    """

    def __init__(self, dynamics: Dynamics, project: Callable[[Tensor], Tensor]) -> None:
        super().__init__(dynamics)
        self.project = project

    def around(self, dynamics: Dynamics) -> Projected:
        """Return a wrapper with the same settings around another model."""
        return Projected(dynamics, self.project)

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the state that follows each window of projected states."""
        projected = self.project(states)
        if not isinstance(projected, Tensor) or (projected.shape, projected.dtype) != (states.shape, states.dtype):
            got = f"{tuple(projected.shape)} {projected.dtype}" if isinstance(projected, Tensor) else repr(projected)
            raise GraspPlannerError(
                f"Projected.project was given states {tuple(states.shape)} {states.dtype} and must return states of "
                f"the same shape and dtype, got {got}"
            )
        return self.dynamics(projected, actions)
