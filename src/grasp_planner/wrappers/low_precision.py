"""``LowPrecision``: a model evaluated in bfloat16, while states, actions and costs keep their precision."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.wrappers.model_wrapper import ModelWrapper


class LowPrecision(ModelWrapper):
    """A model under ``torch.autocast``, which needs half the memory for gradients.

    The model is also faster on processors that multiply bfloat16 numbers, such as GPUs and recent server CPUs.

    bfloat16 has three significant digits, so costs and the best plan are those of a slightly different model. Roll a
    plan out in the original model before you compare its cost with other plans.

    Args:
        dynamics: the model, with weights in float32.
        dtype: ``torch.bfloat16``, or ``torch.float16`` on a GPU.

    Raises:
        GraspPlannerError: ``dtype`` is another type.

    Example:
        >>> import torch
        >>> from grasp_planner import LowPrecision, Markov
        >>> layer = torch.nn.Linear(2, 2)
        >>> LowPrecision(Markov(lambda state, action: layer(state)))(torch.ones(3, 1, 2), torch.ones(3, 1, 2)).dtype
        torch.float32
    """

    def __init__(self, dynamics: Dynamics, dtype: torch.dtype = torch.bfloat16) -> None:
        if dtype not in (torch.bfloat16, torch.float16):
            raise GraspPlannerError(f"LowPrecision.dtype must be torch.bfloat16 or torch.float16, got {dtype}")
        super().__init__(dynamics)
        self.dtype = dtype

    def around(self, dynamics: Dynamics) -> LowPrecision:
        """Return a wrapper with the same settings around another model."""
        return LowPrecision(dynamics, self.dtype)

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Evaluate the model in ``dtype``, and return the result in the dtype of ``states``."""
        with torch.autocast(states.device.type, self.dtype):
            return self.dynamics(states, actions).to(states.dtype)
