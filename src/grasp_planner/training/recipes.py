"""Recipes: the model and all settings of a training, as frozen values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.state.model import StateModelConfig
from grasp_planner.training.latent_learner import LatentLearner
from grasp_planner.training.latent_losses import LatentLoss
from grasp_planner.training.seeding import seeded
from grasp_planner.training.state_learner import StateLearner


@dataclass(frozen=True)
class Phase:
    """A part of the training with its own batch.

    Args:
        share: share of the optimiser steps that belong to this phase; the shares of a recipe add up to 1.
        unroll: environment steps that the model predicts in a row, from its own predictions, before the loss.
        batch: windows per batch.
        frozen: keep the encoder of a pixel model fixed at its running average. All pictures are encoded once, so the
            predictor trains as fast as a state-based model. Frozen phases come last.

    Raises:
        GraspPlannerError: the share is not in (0, 1], or another number is below 1.

    Example:
        >>> Phase(share=1.0, unroll=5, batch=256).frozen
        False
    """

    share: float
    unroll: int
    batch: int
    frozen: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.unroll < 1 or self.batch < 1:
            raise GraspPlannerError(f"a phase needs 0 < share <= 1, unroll >= 1 and batch >= 1, got {self}")


@dataclass(frozen=True)
class Recipe:
    """The model and all settings of a training.

    Args:
        model: configuration of the model.
        steps: number of optimiser steps.
        phases: the phases of the training, in order.
        lr: maximum learning rate, reached by a linear warm-up and followed by a cosine to zero.
        warmup: share of the steps that the warm-up takes.
        weight_decay: weight decay of AdamW.
        clip: maximum norm of the gradient.
        average: decay per step of the running average of the weights; the averaged weights are saved.
        tolerance: error at which the loss changes from quadratic to linear, in units of the model's ``scale``. The loss
            of diffusion models does not use it.
        symmetry: name of the symmetry that augments the data, see ``training.symmetry``; ``None``: no augmentation.
        validation: share of the episodes that are held out.
        horizons: environment steps after which the open-loop error is measured.
        seed: seed of the initial weights, of the split, and of the batches.
        latent_loss: additional losses of models whose encoder is trained, and what is measured (``measures``).
        precision: ``"float32"``, or ``"bfloat16"`` for mixed precision, which is faster for large models on a GPU.
        balance: weight of the load balancing term of a mixture of experts, see ``training.losses.imbalance``. The
            default disables the term, because regimes such as contact and no contact are not equally frequent.

    Raises:
        GraspPlannerError: the shares of the phases do not add up to 1, or settings do not fit together.

    Example:
        >>> mine = Recipe(StateModelConfig(state_size=3, action_size=1), steps=1000, phases=(Phase(1.0, 5, 256),))
        >>> mine.lr
        0.002
    """

    model: StateModelConfig | LatentModelConfig | PatchModelConfig
    steps: int
    phases: tuple[Phase, ...]
    lr: float = 2e-3
    warmup: float = 0.02
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.999
    tolerance: float = 0.05
    symmetry: str | None = None
    validation: float = 0.05
    horizons: tuple[int, ...] = (5, 25, 50)
    seed: int = 0
    latent_loss: LatentLoss = LatentLoss()
    precision: str = "float32"
    balance: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.phases:
            raise GraspPlannerError(f"a recipe needs steps >= 1 and at least one phase, got {self}")
        if not math.isclose(sum(phase.share for phase in self.phases), 1.0, abs_tol=1e-6):
            raise GraspPlannerError(
                f"the shares of a recipe's phases must add up to 1, got {[phase.share for phase in self.phases]}"
            )
        if not 0 <= self.average <= 1:
            raise GraspPlannerError(f"average must be between 0 and 1, got {self.average}")
        if self.precision not in ("float32", "bfloat16"):
            raise GraspPlannerError(f"precision must be 'float32' or 'bfloat16', got {self.precision!r}")
        if not 0 <= self.balance < math.inf:
            raise GraspPlannerError(f"balance must be a finite number of at least 0, got {self.balance}")
        if self.balance and not (isinstance(self.model, StateModelConfig) and self.model.experts > 1):
            raise GraspPlannerError(
                f"balance is for mixtures: choose StateModelConfig(experts=2) or more, or balance 0, got {self.balance}"
            )
        states, trained = isinstance(self.model, StateModelConfig), isinstance(self.model, LatentModelConfig)
        stride = self.model.frameskip
        if isinstance(self.model, StateModelConfig):
            stride = self.model.frameskip // self.model.substeps
        if bad := [phase.unroll for phase in self.phases if phase.unroll % stride]:
            raise GraspPlannerError(
                f"unrolls must be multiples of {stride}, the environment steps in one step of the network, got {bad}"
            )
        if bad := [h for h in self.horizons if h < 1 or h % self.model.frameskip]:
            raise GraspPlannerError(f"horizons must be multiples of frameskip {self.model.frameskip}, got {bad}")
        frozen = [phase.frozen for phase in self.phases]
        if frozen != sorted(frozen) or frozen[0] or (not trained and any(frozen)):
            raise GraspPlannerError(
                "frozen phases are for models whose encoder is trained, and come after phases that train the encoder"
            )
        if self.latent_loss.relative and not (
            isinstance(self.model, LatentModelConfig) and self.model.encoder == "keypoints" and self.model.latent > 2
        ):
            raise GraspPlannerError("latent_loss.relative needs at least two keypoints")
        if not states and self.symmetry is not None:
            raise GraspPlannerError(f"symmetry is for state-based models, got {self.symmetry!r} with a pixel model")

    def phase(self, step: int) -> Phase:
        """Return the phase that an optimiser step belongs to."""
        end = 0.0
        for phase in self.phases:
            end += phase.share
            if step < round(end * self.steps):
                return phase
        return self.phases[-1]

    def windows(self, steps: int) -> int:
        """Return the number of windows in the batches of the first optimiser steps.

        >>> Recipe(StateModelConfig(2, 1), steps=10, phases=(Phase(0.5, 1, 8), Phase(0.5, 5, 4))).windows(6)
        44
        """
        return sum(self.phase(step).batch for step in range(steps))

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return asdict(self)


def build_learner(recipe: Recipe) -> StateLearner | LatentLearner:
    """Build the model of a recipe from its seed, with its loss; the global random state does not change."""
    with seeded(recipe.seed):
        if isinstance(recipe.model, StateModelConfig):
            return StateLearner(recipe.model, recipe.symmetry, recipe.tolerance, recipe.balance)
        return LatentLearner(recipe.model, recipe.latent_loss, recipe.tolerance)
