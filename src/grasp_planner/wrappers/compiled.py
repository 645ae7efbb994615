"""Compiled: a model through ``torch.compile``, made ready once for all numbers of rows."""

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


class Compiled:
    """The same model, compiled: fewer and larger kernels, CUDA graphs where the tensors are on a GPU.

    A run calls a model with few and with many rows, with gradients and without. All numbers of rows share one
    compilation, so that nothing is compiled again within a run; there is one for each kind of call (without
    gradients; with respect to actions; with respect to states and actions), made when it is first needed or, so that
    it takes nothing from a deadline, by :meth:`warm_up`. Answers agree with the model's to rounding.

    Where compiling fails, as without a C++ compiler, one warning says so and the model runs as it is.

    Args:
        dynamics: the model. Keep the compiled one and use it again: compiling takes from seconds to a minute.

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
        """Why the model runs without compilation, if it does."""
        self._ready: dict[Any, Any] = {}

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """The model's own answer."""
        compiled = None if self.failure else self._compiled(states, actions)
        if compiled is None:
            return self.dynamics(states, actions)
        rows = states.shape[0]
        result = compiled(_canonical(states), _canonical(actions))[:rows]
        # The memory of a CUDA graph's result is the next call's too.
        return result.clone() if states.is_cuda else result

    def warm_up(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> None:
        """Compile now, for all kinds of calls with rows like these.

        Args:
            states: some states, such as ``problem.states``.
            actions: some actions.
        """
        for wanted in ((False, False), (False, True), (True, True)):
            with torch.set_grad_enabled(any(wanted)), frozen(self.dynamics):
                part = [x.detach().requires_grad_(needed) for x, needed in zip((states, actions), wanted, strict=True)]
                if not self.failure:
                    self._compiled(*part)

    def _compiled(self, states: Tensor, actions: Tensor) -> Any:
        """What to call for rows like these; ``None`` where compiling failed."""
        graph = torch.is_grad_enabled()
        wanted = (graph and states.requires_grad, graph and actions.requires_grad)
        key = (wanted, graph, states.shape[1:], actions.shape[1:], states.dtype, states.device)
        if key not in self._ready:
            self._ready[key] = self._tried(states, actions, wanted)
        return self._ready[key]

    def _tried(self, states: Tensor, actions: Tensor, wanted: tuple[bool, bool]) -> Any:
        """Compile, and evaluate and differentiate two rows, so that whatever can fail does so here."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own, about itself
                function = torch.compile(_own_code(self.dynamics), mode="reduce-overhead" if states.is_cuda else None)
                with differentiable_again():
                    _evaluate(function, states, actions, wanted)
        except Exception as failure:
            _evaluate(self.dynamics, states, actions, wanted)  # a fault of the model's own is raised as it is
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
    """Within this context, what was evaluated once may be differentiated several times, compiled or not.

    A compiled backward pass otherwise writes over what the forward pass kept for it.
    """
    return torch._functorch.config.patch(donated_buffer=False)


def _own_code(dynamics: Dynamics) -> Any:
    """The model as a function with a code object of its own: compilations are kept, counted and limited by that."""

    def evaluate(states: Tensor, actions: Tensor) -> Tensor:
        return dynamics(states, actions)

    return types.FunctionType(evaluate.__code__.replace(), evaluate.__globals__, "evaluate", None, evaluate.__closure__)


def _canonical(rows: Tensor) -> Tensor:
    """The same rows in one layout, no view, two of them at least: all else would be compiled anew."""
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
