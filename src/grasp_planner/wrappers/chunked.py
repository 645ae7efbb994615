"""``Chunked``: a model evaluated in pieces of bounded memory, with the same predictions and gradients."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.wrappers.live_bytes import LiveBytes
from grasp_planner.wrappers.smoothable import smoothed


class Chunked:
    """A model that is evaluated on a bounded number of rows at a time.

    Without gradients, a call is cut into pieces. With gradients, rows that fit in memory are evaluated in one call.
    Other rows are cut into pieces, and each piece is evaluated again when its gradient is needed. The memory is then
    the memory of one piece, at the cost of one more forward pass. In a rollout of many small calls, the memory that
    earlier calls keep for their gradients counts towards the limit until it is freed.

    Predictions and gradients equal those of the model, to rounding. The limit applies to the model's evaluation. The
    weights, and the planner's own copies of states and actions, need additional memory.

    Args:
        dynamics: the model.
        rows: largest number of rows that are evaluated at once. Up to the same number of further rows may be kept for
            gradients.
        memory: limit in bytes, instead of ``rows``. The number of rows follows from the memory of evaluating one row
            and two rows, which is measured once.

    Raises:
        GraspPlannerError: neither or both limits were given, or a limit is not positive. A call raises it if ``memory``
            is too small for one row.

    Example:
        >>> import torch
        >>> from grasp_planner import Chunked, Markov
        >>> model = Markov(lambda state, action: state + action)
        >>> in_pieces = Chunked(model, memory=2**30)
        >>> torch.equal(in_pieces(torch.ones(7, 1, 2), torch.ones(7, 1, 2)), torch.full((7, 2), 2.0))
        True

    Source: gradient checkpointing (Chen et al., arXiv 1604.06174).
    """

    def __init__(self, dynamics: Dynamics, rows: int | None = None, *, memory: int | None = None) -> None:
        if (rows is None) == (memory is None):
            raise GraspPlannerError(f"Chunked needs one limit, rows= or memory=, got {rows!r} and {memory!r}")
        for name, value in (("rows", rows), ("memory", memory)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise GraspPlannerError(f"Chunked.{name} must be a whole number >= 1, got {value!r}")
        self.dynamics = dynamics
        self.context = dynamics.context
        self.rows, self.memory = rows, memory
        self._before_piece: Callable[[], None] | None = None
        self._fitting: dict[Any, int] = {}
        self._fitting_smoothed: dict[float, dict[Any, int]] = {}  # of each smoother version, by its amount
        self._kept = 0  # rows of earlier calls whose graphs are still alive
        self._lock = threading.RLock()

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Evaluate the model, in pieces if needed."""
        count, graph = states.shape[0], torch.is_grad_enabled() and (states.requires_grad or actions.requires_grad)
        limit = self.rows_at_once(states, actions)
        if count + self._kept <= limit or (not graph and count <= limit):
            return self._keep(self.dynamics(states, actions), count) if graph else self.dynamics(states, actions)
        pieces = -(-count // limit)
        parts = zip(states.tensor_split(pieces), actions.tensor_split(pieces))
        evaluate = self._again if graph else self._piece
        return torch.cat([evaluate(*part) for part in parts])

    def checked(self, before_piece: Callable[[], None]) -> Chunked:
        """Return the same model with a call of ``before_piece`` before each piece, also when gradients are computed.

        ``plan`` uses this method to check the deadline.
        """
        changed = copy.copy(self)
        changed._before_piece, changed._kept = before_piece, 0
        return changed

    def smoothed(self, amount: float) -> Chunked:
        """Return a smoother version of the model in pieces; this model if there is no smoother version."""
        dynamics = smoothed(self.dynamics, amount)
        if dynamics is self.dynamics:
            return self
        changed = copy.copy(self)
        changed.dynamics, changed._kept = dynamics, 0
        changed._fitting = self._fitting_smoothed.setdefault(amount, {})
        return changed

    def _piece(self, states: Tensor, actions: Tensor) -> Tensor:
        if self._before_piece is not None:
            self._before_piece()
        return self.dynamics(states, actions)

    def rows_at_once(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> int:
        """Return the largest number of rows of this shape that are evaluated at once.

        Raises:
            GraspPlannerError: the limit is too small for one row.
        """
        if self.rows is not None:
            return self.rows
        graph = torch.is_grad_enabled() and (states.requires_grad or actions.requires_grad)
        key = (graph, states.shape[1:], actions.shape[1:], states.dtype, states.device)
        if key not in self._fitting:
            self._fitting[key] = self._measure(states[:1].detach(), actions[:1].detach(), graph)
        return self._fitting[key]

    def _measure(self, state: Tensor, action: Tensor, graph: bool) -> int:
        """Return the number of rows that fit. With gradients, half of the memory is for graphs of earlier calls."""
        assert self.memory is not None
        one, two = (peak_bytes(self.dynamics, state, action, rows, graph) for rows in (1, 2))
        each = max(1, two - one)
        share = self.memory // 2 if graph else self.memory
        if one > share:
            raise GraspPlannerError(
                f"Chunked.memory must hold one row of this model, which takes {one:,} bytes"
                f"{' (twice, with gradients)' if graph else ''}; got {self.memory:,}"
            )
        return 1 + (share - one) // each

    def _again(self, states: Tensor, actions: Tensor) -> Tensor:
        """Evaluate one piece without keeping its graph. The piece is evaluated again when its gradient is needed."""

        # The model is evaluated twice on the input, and may write to its input.
        def once(states: Tensor, actions: Tensor) -> Tensor:
            return self._piece(states.clone(), actions.clone())

        return checkpoint(once, states, actions, use_reentrant=False, preserve_rng_state=False)  # type: ignore[return-value]

    def _keep(self, result: Tensor, count: int) -> Tensor:
        """Count these rows as kept until the graph that ends in ``result`` is freed."""
        if not result.requires_grad:
            return result
        graph = _Graph()
        self._count(count)
        weakref.finalize(graph, self._count, -count).atexit = False
        return _Tied.apply(result, graph)  # type: ignore[return-value]

    def _count(self, rows: int) -> None:
        with self._lock:
            self._kept += rows


def peak_bytes(dynamics: Dynamics, state: Tensor, action: Tensor, rows: int, graph: bool) -> int:
    """Return the peak memory, in bytes, of evaluating ``rows`` copies of one row, without inputs and weights."""
    states, actions = (part.expand(rows, -1, -1).clone() for part in (state, action))
    with LiveBytes() as memory, torch.set_grad_enabled(graph):
        if not graph:
            dynamics(states, actions)
            return memory.peak
        variables = states.requires_grad_(), actions.requires_grad_()
        result = dynamics(*variables)
        if result.requires_grad:
            torch.autograd.grad(result.sum(), variables, allow_unused=True)
    return memory.peak


class _Graph:
    """An object that lives as long as the autograd graph that refers to it."""


class _Tied(torch.autograd.Function):
    """The identity function, whose autograd node keeps an object alive."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, graph: _Graph) -> Tensor:
        ctx.graph = graph
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
