"""``StraightThrough``: a model whose derivative by the state is replaced by the identity."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import between_zero_and_one
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.wrappers.model_wrapper import ModelWrapper


class StraightThrough(ModelWrapper):
    """A model with the same predictions, in which planners see another derivative by the state.

        dF/ds_t  ->  share * dF/ds_t + (1 - share) * I,      dF/da_t unchanged

    The derivatives of a learned model by its state can be wrong where its predictions are right. With a share of 0, no
    gradient flows through the model's state input. In a rollout, the derivative of the last state by an action is then
    the derivative of the state right after this action. This is a good approximation if the state changes little by
    itself from step to step.

    All planners with gradients use these derivatives: ``GD``, and ``GaussNewton`` in its linearisation. GRASP's lifted
    steps stop gradients at the state input already; of GRASP, only the sync changes.

    Args:
        dynamics: the model.
        share: weight of the model's own derivative, from 0 to 1. The derivatives by the older states of a window are
            multiplied by the share.

    Raises:
        GraspPlannerError: the share is not a number from 0 to 1.

    Example:
        >>> import torch
        >>> from grasp_planner import Markov
        >>> model = StraightThrough(Markov(lambda state, action: 3.0 * state + 2.0 * action))
        >>> state, action = (torch.ones(1, 1, 1, requires_grad=True) for _ in range(2))
        >>> after = model(state, action)
        >>> after.item(), [gradient.item() for gradient in torch.autograd.grad(after.sum(), (state, action))]
        (5.0, [1.0, 2.0])

    Source: the straight-through estimator (Bengio, Leonard and Courville, arXiv 1308.3432), for a model's state.
    """

    def __init__(self, dynamics: Dynamics, share: float = 0.0) -> None:
        super().__init__(dynamics)
        self.share = share
        between_zero_and_one(self, "share")

    def around(self, dynamics: Dynamics) -> StraightThrough:
        """Return a wrapper with the same settings around another model."""
        return StraightThrough(dynamics, self.share)

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the state that follows each window."""
        held = states.detach()
        apart = states - held  # zero, with the derivative of the states
        return self.dynamics(held + self.share * apart, actions) + (1.0 - self.share) * apart[:, -1]
