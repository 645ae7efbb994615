"""``Compiled``: a model under ``torch.compile``, compiled once for all numbers of rows."""

from __future__ import annotations

import types
import warnings
from typing import Any

import torch
import torch._functorch.config
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.frozen import frozen
from grasp_planner.wrappers.smoothable import smoothed


class Compiled:
    """A compiled model: fewer and larger kernels, and CUDA graphs if the tensors are on a GPU.

    Planning calls a model with few and with many rows, with and without gradients. All numbers of rows share one
    compilation. There is one compilation for each kind of call: without gradients, with gradients of actions, and with
    gradients of states and actions. The first call of each kind compiles. :meth:`warm_up` compiles all kinds
    beforehand, so that compilation does not use up a budget in seconds. Predictions equal those of the model, to
    rounding.

    If compiling fails, for example because there is no C++ compiler, a warning is issued once and the model runs
    without compilation.

    Args:
        dynamics: the model. Reuse the ``Compiled`` object: compilation takes from a few seconds to a minute.

    Example:
        >>> import torch
        >>> from grasp_planner import Compiled, Markov
        >>> fast = Compiled(Markov(lambda state, action: state + action))
        >>> fast(torch.ones(7, 1, 2), torch.ones(7, 1, 2)).shape  # doctest: +SKIP
        torch.Size([7, 2])
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        self.context = dynamics.context
        self.failure: Exception | None = None
        """The error of ``torch.compile``, if it failed."""
        self._ready: dict[Any, Any] = {}
        self._smoothed: dict[float, Compiled] = {}

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Evaluate the compiled model."""
        compiled = None if self.failure else self._compiled(states, actions)
        if compiled is None:
            return self.dynamics(states, actions)
        rows = states.shape[0]
        result = compiled(_canonical(states), _canonical(actions))[:rows]
        # The result is copied, since the next call of a CUDA graph overwrites its memory.
        return result.clone() if states.is_cuda else result

    def smoothed(self, amount: float) -> Compiled:
        """Return a smoother version of the model, compiled once; this model if there is no smoother version."""
        dynamics = smoothed(self.dynamics, amount)
        if dynamics is self.dynamics:
            return self
        return self._smoothed.setdefault(amount, Compiled(dynamics))

    def warm_up(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> None:
        """Compile the model for all kinds of calls.

        Args:
            states: states of the shape of the later calls, such as ``problem.states``; any number of rows.
            actions: actions of the shape of the later calls.
        """
        for wanted in ((False, False), (False, True), (True, True)):
            with torch.set_grad_enabled(any(wanted)), frozen(self.dynamics):
                part = [x.detach().requires_grad_(needed) for x, needed in zip((states, actions), wanted, strict=True)]
                if not self.failure:
                    self._compiled(*part)

    def _compiled(self, states: Tensor, actions: Tensor) -> Any:
        """Return the compiled function for rows of this shape; ``None`` if compiling failed."""
        graph = torch.is_grad_enabled()
        wanted = (graph and states.requires_grad, graph and actions.requires_grad)
        key = (wanted, graph, states.shape[1:], actions.shape[1:], states.dtype, states.device)
        if key not in self._ready:
            self._ready[key] = self._tried(states, actions, wanted)
        return self._ready[key]

    def _tried(self, states: Tensor, actions: Tensor, wanted: tuple[bool, bool]) -> Any:
        """Compile the model, and evaluate and differentiate two rows, so that any compilation error occurs here."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings of the compiler about itself
                function = torch.compile(_own_code(self.dynamics), mode="reduce-overhead" if states.is_cuda else None)
                with differentiable_again():
                    _evaluate(function, states, actions, wanted)
        except Exception as failure:
            _evaluate(self.dynamics, states, actions, wanted)  # an error of the model itself is raised unchanged
            self.failure = failure
            said = str(failure).strip().splitlines()[0] if str(failure).strip() else ""
            warnings.warn(
                f"torch.compile failed, so the model runs without it, slower and with the same plans: "
                f"{type(failure).__name__}: {said}",
                RuntimeWarning,
                stacklevel=5,
            )
            return None
        return function


def differentiable_again() -> Any:
    """Allow a compiled graph to be differentiated several times inside the block.

    Outside of the block, a compiled backward pass overwrites the tensors that the forward pass stored.
    """
    return torch._functorch.config.patch(donated_buffer=False)


def _own_code(dynamics: Dynamics) -> Any:
    """Return the model as a function with its own code object, since torch limits compilations per code object."""

    def evaluate(states: Tensor, actions: Tensor) -> Tensor:
        return dynamics(states, actions)

    return types.FunctionType(evaluate.__code__.replace(), evaluate.__globals__, "evaluate", None, evaluate.__closure__)


def _canonical(rows: Tensor) -> Tensor:
    """Copy rows to a contiguous layout with at least two rows. Other layouts would be compiled again."""
    rows = rows.expand(2, -1, -1) if rows.shape[0] == 1 else rows
    rows = rows.clone(memory_format=torch.contiguous_format)
    torch._dynamo.mark_dynamic(rows, 0)
    return rows


def _evaluate(function: Any, states: Tensor, actions: Tensor, wanted: tuple[bool, bool]) -> None:
    rows = [
        _canonical(part[:1].detach().clone().requires_grad_(needed))
        for part, needed in zip((states, actions), wanted, strict=True)
    ]
    result = function(*rows)
    if any(wanted) and result.requires_grad:
        variables = [part for part, needed in zip(rows, wanted, strict=True) if needed]
        torch.autograd.grad(result.sum(), variables, allow_unused=True)
