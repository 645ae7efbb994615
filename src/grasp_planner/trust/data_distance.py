"""Distances of states from training data, the projection of states towards the data, and the event of staying near."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import not_negative, whole
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.events import Margin

_LEAST_VARIANCE = 1e-6  # of the largest variance: data that lie exactly in a subspace have a finite distance from it
_ROUNDING = 1e-12  # squared distances up to this, relative to those of the data, are rounding errors


class PrincipalComponents:
    """The distance of states from the mean of training states, in units of their spread along principal components.

        d(s)^2  =  1/D ( sum_{i <= k} (v_i'(s - m))^2 / sigma_i^2  +  |r(s)|^2 / rho^2 )

    m is the mean of the training states. The v_i are their first k principal directions, with the variances sigma_i^2.
    The residual r(s) is the part of s - m outside of these directions, and rho^2 is the mean of the other variances.
    D is the number of coordinates. The mean of d^2 over the training states is 1, for latents of any size.

    A coordinate that is constant in the training states does not count.

    Args:
        states: ``(n, s)`` states of the training data, such as encoded observations. Use several times as many states
            as a state has coordinates.
        scale: ``(s,)`` typical size of each coordinate, > 0, such as ``model.scale``; ``None``: 1.
        components: k, at most. A latent with at most k coordinates has no residual, and d is the Mahalanobis distance
            divided by the square root of D.

    Raises:
        GraspPlannerError: ``states`` are not at least two different states of finite numbers, ``scale`` does not fit,
            or ``components`` is not an integer of at least 1.

    Example:
        >>> data = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -0.1], [0.0, 0.1]])
        >>> distance = PrincipalComponents(data)
        >>> distance(torch.tensor([[1.0, 0.0], [0.0, 0.3]])).round(decimals=3)
        tensor([1., 3.])

    Source: the distance of a normal distribution with one variance for all other directions, as in probabilistic
    principal component analysis (Tipping and Bishop, 1999).
    """

    def __init__(
        self, states: Float[Tensor, "n s"], scale: Float[Tensor, " s"] | None = None, components: int = 32
    ) -> None:
        self.components = components
        whole(self, 1, "components")
        points, unit = _in_units("PrincipalComponents", states, scale)
        mean, counted = points.mean(0), int((unit > 0).sum())
        _, values, directions = torch.linalg.svd(points - mean, full_matrices=False)
        variances = values.square() / len(points)
        kept = min(components, counted, len(variances))
        least = _LEAST_VARIANCE * variances[0]
        others = max(1, counted - kept)
        rest = (variances[kept:].sum() / others).clamp(min=least).sqrt()
        along = variances[:kept].clamp(min=least).sqrt()
        dtype = torch.promote_types(states.dtype, torch.float32)
        self._fitted = tuple(part.to(dtype) for part in (unit, mean, directions[:kept].mT, along, rest))
        self._counted, self._others = counted, others

    def __call__(self, states: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return d(s) of each state, in the model's own units of states.

        Raises:
            GraspPlannerError: the states have another size than the training states.
        """
        _, _, _, along, rest = self._fitted
        first, residual = self._split(states)
        deviation = torch.cat([first / along.to(states), residual / rest.to(states)], dim=-1)
        return torch.linalg.vector_norm(deviation, dim=-1) / self._counted**0.5

    def project(self, states: Float[Tensor, "*batch s"], limit: float = 3.0) -> Float[Tensor, "*batch s"]:
        """Clip each principal component to ``limit`` standard deviations, and shorten the residual likewise.

            |v_i'(P(s) - m)|  <=  limit * sigma_i,      |r(P(s))|  <=  limit * rho * (D - k)^(1/2)

        P(s) is the nearest state with these properties, in units of the scale. Constant coordinates do not change.

        Args:
            states: states in the model's own units.
            limit: largest deviation from the mean, in standard deviations. Unlike the limit of d(s), this limit applies
                to each component, so a limit near 1 would also change many training states.

        Raises:
            GraspPlannerError: ``limit`` is not a number >= 0, or the states have another size than the training states.
        """
        unit, _, directions, along, rest = (part.to(states) for part in self._fitted)
        first, residual = self._split(states)
        squared = (residual / rest).square().sum(-1) / self._others
        factor = _shortening(squared, torch.zeros_like(squared), limit)
        change = (first.clamp(-limit * along, limit * along) - first) @ directions.mT
        return states + unit * (change + (factor - 1.0)[..., None] * residual)

    def _split(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the principal components of states, and the residual, in units of the scale."""
        unit, mean, directions, _, _ = (part.to(states) for part in self._fitted)
        _check_states("PrincipalComponents", states, unit)
        centred = states * _per(unit) - mean
        first = centred @ directions
        return first, centred - first @ directions.mT


class NearestStates:
    """The distance of states from the nearest training states.

        d(s)^2  =  1/c^2  mean over the k nearest of the stored states x of  |s - x|^2

    Distances are in units of the scale. c is the root mean square of the same distance over the stored states, each
    compared with the other stored states. The mean of d^2 over the stored states is therefore 1, for latents of any
    size.

    A coordinate that is constant in the training states does not count. The gradient treats the choice of the nearest
    states as fixed.

    Args:
        states: ``(n, s)`` states of the training data, such as encoded observations.
        scale: ``(s,)`` typical size of each coordinate, > 0, such as ``model.scale``; ``None``: 1.
        neighbours: k.
        keep: number of states to store, at most. They are drawn at random from ``states``.
        seed: seed of this draw.

    Raises:
        GraspPlannerError: ``states`` are not at least two different states of finite numbers, ``scale`` does not fit,
            a number is not an integer of at least 1, or fewer than ``neighbours`` + 1 states are stored.

    Example:
        >>> distance = NearestStates(torch.arange(10.0)[:, None], neighbours=2)
        >>> distance(torch.tensor([[3.5], [20.0]])).round(decimals=2)
        tensor([ 0.4400, 10.1000])
    """

    def __init__(
        self,
        states: Float[Tensor, "n s"],
        scale: Float[Tensor, " s"] | None = None,
        neighbours: int = 8,
        keep: int = 2000,
        seed: int = 0,
    ) -> None:
        self.neighbours, self.keep = neighbours, keep
        whole(self, 1, "neighbours", "keep")
        points, unit = _in_units("NearestStates", states, scale)
        drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[:keep]
        # Points are relative to their mean, because distances are computed from products, which round large numbers.
        dtype = torch.promote_types(states.dtype, torch.float32)
        centre = points.mean(0).to(dtype)
        stored = points[drawn.sort().values.to(points.device)] - centre
        if len(drawn) <= neighbours:
            raise GraspPlannerError(
                f"NearestStates compares each stored state with {neighbours} other states, and stores only "
                f"{len(drawn)}: give more states, or lower neighbours"
            )
        # A state is among the k + 1 nearest of itself, and adds 0 to the sum over them.
        mean, spread = _around(stored, stored, neighbours + 1)
        squares = ((stored - mean).square().sum(1) + spread).mean() * (neighbours + 1) / neighbours
        if not bool(squares > _ROUNDING * points.var(0).sum()):
            raise GraspPlannerError(
                f"NearestStates: each stored state is equal to {neighbours} other states, so that distances have no "
                "unit: give more different states, or raise neighbours"
            )
        fitted = (unit, centre, stored, squares.sqrt())
        self._unit, self._centre, self._stored, self._typical = (part.to(dtype) for part in fitted)

    def __call__(self, states: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return d(s) of each state, in the model's own units of states.

        Raises:
            GraspPlannerError: the states have another size than the training states.
        """
        offset, spread = self._from_nearest(states)
        both = torch.cat([offset, spread.sqrt()[..., None]], dim=-1)
        return torch.linalg.vector_norm(both, dim=-1) / self._typical.to(states)

    def project(self, states: Float[Tensor, "*batch s"], limit: float) -> Float[Tensor, "*batch s"]:
        """Move states that are farther than ``limit`` towards the mean of their nearest states.

        The distance of a moved state from the same nearest states is ``limit``, or the distance of their mean, if that
        is larger. Constant coordinates do not change.

        Args:
            states: states in the model's own units.
            limit: the largest distance, such as the 0.99 quantile of the distances of held-out states.

        Raises:
            GraspPlannerError: ``limit`` is not a number >= 0, or the states have another size than the training states.
        """
        offset, spread = self._from_nearest(states)
        typical = self._typical.to(states).square()
        factor = _shortening(offset.square().sum(-1) / typical, spread / typical, limit)
        return states + self._unit.to(states) * (factor - 1.0)[..., None] * offset

    def _from_nearest(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return s minus the mean of its nearest states, and the mean square of these states around their mean."""
        _check_states("NearestStates", states, self._unit)
        points = states * _per(self._unit.to(states)) - self._centre.to(states)
        mean, spread = _around(points.detach().reshape(-1, points.shape[-1]), self._stored.to(states), self.neighbours)
        return points - mean.reshape(points.shape), spread.reshape(points.shape[:-1])


def _around(
    rows: Float[Tensor, "n s"], stored: Float[Tensor, "m s"], count: int
) -> tuple[Float[Tensor, "n s"], Float[Tensor, " n"]]:
    """Return the mean of the nearest stored states of each row, and their mean square distance from this mean."""
    nearest = torch.cdist(rows, stored).topk(count, largest=False).indices.unbind(1)
    # One neighbour at a time: all neighbours together would need ``count`` times the memory of the rows.
    mean = torch.zeros_like(rows)
    for one in nearest:
        mean += stored[one] / count
    spread = torch.zeros_like(rows[:, 0])
    for one in nearest:
        spread += (stored[one] - mean).square().sum(1) / count
    return mean, spread


def near_data(distance: Callable[[Tensor], Tensor], limit: float, scale: float = 1.0) -> Margin:
    """Return the event of a step that a state is at most ``limit`` away from data: margin (limit - d(s)) / scale.

    ``Constrained(objective, always(near_data(distance, limit), first=1))`` keeps plans in a trust region around the
    data. With ``limit=0``, ``clearance=0`` and ``violation_cost=0``, the penalty is a stage cost: weight * d(s_t)^2.
    The penalty is a sum of squares, so ``GaussNewton`` can plan with it.

    Args:
        distance: function of states ``(b, k, s)``, in the model's own units, that returns their distances ``(b, k)``,
            such as :class:`PrincipalComponents` and :class:`NearestStates`.
        limit: largest distance, such as the 0.99 quantile of the distances of held-out states.
        scale: typical size of a distance, see :class:`~grasp_planner.core.events.Margin`.

    Raises:
        GraspPlannerError: ``limit`` is not a number >= 0; or see :class:`~grasp_planner.core.events.Margin`.

    Example:
        >>> from grasp_planner import always
        >>> data = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -0.1], [0.0, 0.1]])
        >>> event = always(near_data(PrincipalComponents(data), limit=2.0))
        >>> event.margin(torch.tensor([[[1.0, 0.0], [0.0, 0.3]]]), torch.zeros(1, 1, 2)).round(decimals=3)
        tensor([-1.])
    """
    not_negative("near_data: limit", limit)

    def margin(states: Tensor, actions: Tensor) -> Tensor:
        return limit - distance(states)

    return Margin(margin, scale)


def _in_units(name: str, states: object, scale: object) -> tuple[Tensor, Tensor]:
    """Return states (n, s) in units of the scale, and the scale (s,) with 0 for constant coordinates; in float64.

    Raises:
        GraspPlannerError: the states are not (n, s) finite numbers, they are all the same, or the scale does not fit.
    """
    if not isinstance(states, Tensor) or states.ndim != 2 or not states.is_floating_point():
        got = f"{states.dtype} {tuple(states.shape)}" if isinstance(states, Tensor) else type(states).__name__
        raise GraspPlannerError(f"{name} needs states as a tensor (n, s) of floating-point numbers, got {got}")
    states = states.detach().double()
    if not bool(torch.isfinite(states).all()):
        raise GraspPlannerError(f"{name} needs states of finite numbers")
    unit = states.new_ones(states.shape[1]) if scale is None else torch.as_tensor(scale).detach().to(states)
    if unit.shape != states.shape[1:] or not bool((torch.isfinite(unit) & (unit > 0)).all()):
        raise GraspPlannerError(
            f"{name}.scale must be {tuple(states.shape[1:])} finite numbers > 0, got {tuple(unit.shape)}, the least "
            f"{unit.min().item() if unit.numel() else None}"
        )
    unit = torch.where((states != states[:1]).any(0), unit, 0.0)
    if not bool((unit > 0).any()):
        raise GraspPlannerError(f"{name} needs at least two different states, got {len(states)} times the same state")
    return states * _per(unit), unit


def _check_states(name: str, states: Tensor, unit: Float[Tensor, " s"]) -> None:
    if states.shape[-1:] != unit.shape:
        raise GraspPlannerError(
            f"{name} was fitted to states of {len(unit)} numbers, got states {tuple(states.shape)}: fit it to states "
            "of this model, or pass the coordinates that it was fitted to"
        )


def _per(unit: Float[Tensor, " s"]) -> Float[Tensor, " s"]:
    """Return 1 / unit, and 0 where the unit is 0."""
    return torch.where(unit > 0, 1.0 / torch.where(unit > 0, unit, 1.0), 0.0)


def _shortening(
    squared: Float[Tensor, "*batch"], spread: Float[Tensor, "*batch"], limit: float
) -> Float[Tensor, "*batch"]:
    """Return the factor from 0 to 1 of an offset, so that a distance is at most the limit, if it can be.

    Args:
        squared: squared distance that the offset causes.
        spread: squared distance that remains without the offset.
        limit: the largest distance.
    """
    not_negative("project: limit", limit)
    room = (limit**2 - spread).clamp(min=0.0)
    outside = squared > room.clamp(min=_ROUNDING)
    # The root is taken of rows outside only: elsewhere, its gradient could be infinite.
    return torch.where(outside, room.sqrt() * torch.where(outside, squared, 1.0).rsqrt(), 1.0)
