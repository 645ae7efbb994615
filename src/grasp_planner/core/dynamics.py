"""The model as a planner sees it: a function of windows of states and actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Dynamics(Protocol):
    """The interface that a planner needs from a model. The protocol is structural: a model inherits nothing.

        s_{t+1} = F(s_{t-h+1:t}, a_{t-h+1:t})

    ``context`` is h, the number of past states and actions that one prediction reads. A Markov model has context 1.

    Example:
        >>> class Coasting:
        ...     context = 2
        ...
        ...     def __call__(self, states, actions):  # (n, 2, s), (n, 2, a) -> (n, s)
        ...         return 2 * states[:, 1] - states[:, 0] + 0.1 * actions[:, 1]
        >>> isinstance(Coasting(), Dynamics)
        True
    """

    @property
    def context(self) -> int:
        """h, the number of past states and actions that one prediction reads."""
        ...

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Predict the state that follows each window. Rows are independent of each other."""
        ...


@dataclass(frozen=True)
class Markov:
    """A function ``fn(state (n, s), action (n, a)) -> (n, s)`` as a ``Dynamics`` of context 1.

    Args:
        fn: function of states ``(n, s)`` and actions ``(n, a)`` that returns the next states ``(n, s)``.

    Example:
        >>> import torch
        >>> double = Markov(lambda state, action: state + action)
        >>> double(torch.ones(2, 1, 3), torch.ones(2, 1, 3)).shape
        torch.Size([2, 3])
    """

    fn: Callable[[Tensor, Tensor], Tensor]
    context: int = field(default=1, init=False)

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the state that follows the only state and action of each window."""
        return self.fn(states[:, -1], actions[:, -1])
