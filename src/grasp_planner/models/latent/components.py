"""Principal components of the features of a frozen encoder, computed from training data and stored with the model."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError

SMALL = 1e-6


class Components(nn.Module):
    """The projection of patch features to normalised principal components.

        c_i = V^T (f_i - m_i)

    m_i is the mean feature vector of patch i, which describes the background of a still camera. The columns of V are
    the first principal directions of f_i - m_i over all patches, divided by the standard deviations along them. All
    patches share V.

    Args:
        patches: number of patches of a picture.
        width: numbers in the features of a patch.
        components: number of components to keep.

    Attributes:
        variances: variance of the features along each direction, in descending order, with mean 1 over the components.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor

    def __init__(self, patches: int, width: int, components: int) -> None:
        super().__init__()
        if components > width:
            raise GraspPlannerError(
                f"features of {width} numbers have at most as many principal components, got components {components}"
            )
        self.register_buffer("mean", torch.zeros(patches, width))
        self.register_buffer("directions", torch.eye(width, components))
        self.register_buffer("variances", torch.ones(components))

    def forward(self, features: Float[Tensor, "n p d"]) -> Float[Tensor, "n p c"]:
        """Project features."""
        return (features - self.mean) @ self.directions

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "n p d"]) -> float:
        """Compute the projection from the features of pictures.

        Returns:
            The share of the variance that the components explain.

        Raises:
            GraspPlannerError: the features are the same in all pictures.
        """
        self.mean.copy_(features.mean(0))
        centred = (features - self.mean).flatten(0, 1)
        covariance = (centred.mT @ centred).double() / len(centred)
        variances, directions = torch.linalg.eigh(covariance)
        variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)
        kept = variances[: len(self.variances)]
        if not float(kept[0]) > SMALL:
            raise GraspPlannerError("the features of the encoder are the same in all pictures: nothing moves in them")
        # The sign of an eigenvector is arbitrary. The largest entry is made positive, so that the result is unique.
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        directions = directions * largest.sign()
        self.directions.copy_(directions[:, : len(kept)] / kept.clamp(min=SMALL * float(kept[0])).sqrt())
        self.variances.copy_(kept / kept.mean())
        return float(kept.sum() / variances.sum())
