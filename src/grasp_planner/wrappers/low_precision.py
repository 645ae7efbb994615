"""LowPrecision: a model's inside in bfloat16, with states, actions and costs as they were."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError


class LowPrecision:
    """The same model under ``torch.autocast``: half the memory for what gradients need.

    It is also faster where the processor multiplies such numbers, as GPUs and recent servers do.

    Plans are those of a slightly different model (bfloat16 keeps three digits): costs, and the choice of the best
    plan, come from its rollouts. Roll a plan out in the model itself before comparing it with others.

    Args:
        dynamics: the model, with weights in float32.
        dtype: ``torch.bfloat16``, or ``torch.float16`` on a GPU.

    Raises:
        GraspPlannerError: another dtype.

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
        self.dynamics, self.context, self.dtype = dynamics, dynamics.context, dtype

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """The model's answer to fewer digits, in the dtype of ``states``."""
        with torch.autocast(states.device.type, self.dtype):
            return self.dynamics(states, actions).to(states.dtype)
