"""First-order optimisation for planners: gradients of a loss per problem, and one step of SGD or Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError

Optimiser = Literal["adam", "sgd"]

# Adam's usual constants (Kingma and Ba, arXiv 1412.6980). Gradients are in units of the problem's scale. The epsilon is
# far below any gradient that matters, since a larger epsilon would make the step depend on the scale.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-12


class Moments(NamedTuple):
    """Adam's running means of the gradient and of its square, and the number of gradients so far."""

    first: Tensor
    second: Tensor
    count: int

    @classmethod
    def zeros(cls, like: Tensor) -> Moments:
        """Return the initial moments, which are zero."""
        return cls(torch.zeros_like(like), torch.zeros_like(like), 0)


def descend(
    optimiser: Optimiser,
    lr: float,
    variable: Tensor,
    gradient: Tensor,
    moments: Moments,
    epsilon: float = _EPSILON,
) -> tuple[Tensor, Moments]:
    """Make one step against the gradient. The arguments are not written to.

    sgd    x <- x - lr * g
    adam   x <- x - lr * m / (sqrt(v) + eps),   m and v with bias correction
    """
    if optimiser == "sgd":
        return variable - lr * gradient, moments
    count = moments.count + 1
    first = torch.lerp(gradient, moments.first, _BETA_1)
    second = torch.lerp(gradient.square(), moments.second, _BETA_2)
    # The bias correction of the second moment is taken out of the root, so that it costs no operation on tensors.
    bias = (1 - _BETA_2**count) ** 0.5
    size = second.sqrt().add_(bias * epsilon)
    return torch.addcdiv(variable, first, size, value=-lr * bias / (1 - _BETA_1**count)), Moments(first, second, count)


def with_gradients(function: Callable[..., tuple[Tensor, Any]], *variables: Tensor) -> tuple[tuple[Tensor, ...], Any]:
    """Differentiate ``function(*variables) -> (loss (rows,), by-product)``; return the gradients and the by-product.

    Rows are independent, so the gradient of the summed loss holds the gradient of each row. Three kinds of entries are
    set to NaN, so that the loop detects the fault. Infinite entries are set to NaN because a step along them would end
    on a bound and look valid. Entries whose square overflows are set to NaN because Adam would never move again. All
    entries of a row are set to NaN if the loss of the row is not finite.

    Raises:
        GraspPlannerError: the loss does not depend on the first variable as far as autograd can see.
    """
    with torch.enable_grad():
        variables = tuple(variable.detach().requires_grad_() for variable in variables)
        loss, by_product = function(*variables)
        gradients = (None,)
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss.sum(), variables, allow_unused=True)
    if gradients[0] is None:
        raise GraspPlannerError("the cost does not depend on the actions as far as autograd can see")
    zero = loss.detach() * 0.0  # NaN where the loss is not finite
    gradients = (torch.zeros_like(v) if g is None else g for v, g in zip(variables, gradients, strict=True))
    return tuple(with_faults(g, zero.reshape(-1, *[1] * (g.ndim - 1))) for g in gradients), by_product


def with_faults(gradient: Tensor, zero: Tensor) -> Tensor:
    """Set entries whose square is not finite to NaN, and all entries of rows in which ``zero`` is NaN instead of 0."""
    return torch.addcmul(gradient, gradient.square(), zero)  # g + 0 g^2 is faster than isfinite and where
