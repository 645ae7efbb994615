"""Losses that keep a learned latent from collapsing, and make distances between latents meaningful."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError, unknown_name

SMALL = 1e-4
MEASURES = ("position", "push_t")
PROJECTIONS, KNOTS, LAST_KNOT = 256, 17, 3.0


@dataclass(frozen=True)
class LatentLoss:
    """Weights of the losses of a pixel model; the weight of predicting the next latents is 1.

    Args:
        variance: weight of a hinge loss on the standard deviation of each visual coordinate.
        spread: standard deviation, in units of the model's scale, below which the hinge loss is positive.
        decorrelation: weight of the squared covariances of visual coordinates with each other and with proprioception.
        relative: compute the hinge and the covariances from two parts: the first keypoint, and the positions of the
            other keypoints relative to the first keypoint, minus their best linear prediction from it. Use this setting
            for keypoints on one body, whose positions are correlated.
        sigreg: weight of SIGReg, a penalty on the deviation of visual latents from a standard normal distribution.
        inverse: weight of the error of a small network that predicts the mean action from two successive latents.
        straightening: weight of one minus the cosine between successive steps of a path.
        reconstruction: weight of the decoder's error in the encoder's loss; 0: the encoder gets no gradient from it.
        measures: errors to report: ``"position"`` (of the state's first two coordinates) or ``"push_t"``.
    """

    variance: float = 5.0
    spread: float = 1.0
    decorrelation: float = 0.1
    relative: bool = False
    sigreg: float = 0.0
    inverse: float = 0.1
    straightening: float = 0.0
    reconstruction: float = 0.0
    measures: str = "position"

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in ("relative", "measures") and not 0 <= value < math.inf:
                raise GraspPlannerError(f"LatentLoss.{one.name} must be a finite number >= 0, got {value!r}")
        if self.measures not in MEASURES:
            raise unknown_name("measures", self.measures, MEASURES)


def variance_hinge(latents: Float[Tensor, "n s"], spread: float) -> Float[Tensor, ""]:
    """Return by how much the standard deviations of coordinates fall short of ``spread``, on average.

    >>> import torch
    >>> round(float(variance_hinge(torch.zeros(10, 3), spread=0.9)), 2)
    0.89
    """
    return (spread - (latents.var(0) + SMALL).sqrt()).clamp(min=0).mean()


def decorrelation(visual: Float[Tensor, "n s"], others: Float[Tensor, "n q"] | None = None) -> Float[Tensor, ""]:
    """Return the squared covariances of visual coordinates with each other and with others.

    The squared covariances are summed for each visual coordinate and averaged over visual coordinates. Without this
    term, all keypoints can follow the same object. The term uses covariances, since correlations would also penalise a
    keypoint that hardly moves because it does not follow any object yet.

    >>> import torch
    >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    >>> round(float(decorrelation(torch.cat([x / x.std(), x / x.std()], dim=1))), 2)
    1.0

    Source: VICReg (arXiv 2105.04906). Difference: covariances with other parts of the latent are included.
    """
    both = visual if others is None else torch.cat([visual, others], dim=-1)
    centred = both - both.mean(0)
    squares = (centred[:, : visual.shape[1]].mT @ centred / (len(both) - 1)).square()
    return (squares.sum() - squares.diagonal().sum()) / visual.shape[1]


def unexplained(values: Float[Tensor, "n s"], others: Float[Tensor, "n q"]) -> Float[Tensor, "n s"]:
    """Return the residuals of a least-squares fit of some values by a linear function of others.

    >>> import torch
    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> float(unexplained(3 * x[:, :1] + 1, x).abs().max()) < 1e-2
    True
    """
    values, others = values - values.mean(0), others - others.mean(0)
    gram = others.mT @ others / len(others) + SMALL * torch.eye(others.shape[1]).to(others)
    return values - others @ torch.linalg.solve(gram, others.mT @ values / len(others))


def sigreg(latents: Float[Tensor, "n s"], generator: torch.Generator) -> Float[Tensor, ""]:
    """Return how far random one-dimensional projections of the latents are from a standard normal distribution.

    The distance is the test statistic of Epps and Pulley: for directions u on the sphere, the squared difference of
    the characteristic functions of <u, z> and of a standard normal variable at 17 points t up to 3, weighted by
    exp(-t^2 / 2).

    Source: SIGReg of LeJEPA as LeWorldModel uses it (1024 projections there), multiplied by the batch size.
    """
    directions = torch.randn(latents.shape[1], PROJECTIONS, generator=generator).to(latents)
    views = latents @ (directions / directions.norm(dim=0, keepdim=True))
    knots = torch.linspace(0, LAST_KNOT, KNOTS, device=latents.device, dtype=latents.dtype)
    normal = torch.exp(-0.5 * knots**2)
    phases = views[..., None] * knots
    gap = (phases.cos().mean(0) - normal).square() + phases.sin().mean(0).square()
    return torch.trapezoid(gap * normal, knots, dim=-1).mean() * len(latents)


def bend(path: Float[Tensor, "n t s"]) -> Float[Tensor, ""]:
    """Return one minus the cosine between successive steps of a path, on average; 0 for straight paths.

    Source: temporal straightening as a regulariser of latent world models (Henaff et al. study it in vision).

    >>> import torch
    >>> round(float(bend(torch.tensor([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]]))), 3)
    0.0
    """
    steps = path[:, 1:] - path[:, :-1]
    if steps.shape[1] < 2:
        return path.new_zeros(())
    sizes = (steps.square().sum(-1) + SMALL**2).sqrt()
    cosines = (steps[:, 1:] * steps[:, :-1]).sum(-1) / (sizes[:, 1:] * sizes[:, :-1])
    return (1 - cosines).mean()
