"""The packaged recipes: one for each model that can be trained by name."""

from __future__ import annotations

from dataclasses import replace

from grasp_planner.core.errors import known_name
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.state.model import StateModelConfig
from grasp_planner.training.latent_losses import LatentLoss
from grasp_planner.training.recipes import Phase, Recipe


def recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Args:
        name: a name in ``RECIPES``, in upper or lower case, with dashes, underscores or neither.

    Raises:
        GraspPlannerError: there is no recipe called ``name``.

    Example:
        >>> recipe("pusht-state").model.features
        'push_t'
    """
    return RECIPES[known_name("recipe", name, RECIPES)]


def _one_point(model: LatentModelConfig) -> Recipe:
    """Return the recipe of pixel models for worlds in which a single point moves."""
    return Recipe(
        model=model,
        steps=1_500,
        phases=(Phase(0.3, 15, 32), Phase(0.7, 25, 256, frozen=True)),
        tolerance=0.1,
        average=0.995,
        latent_loss=LatentLoss(decorrelation=0.0),
    )


# Of LeWorldModel's kind: nothing in the latent is chosen for the task.
_PUSH_T_LEWM = LatentModelConfig(
    state_size=7,
    action_size=2,
    proprio_size=4,
    angles=(4,),
    proprio_weights=(300.0, 300.0, 0.0, 0.0),
    encoder="transformer",
    latent=192,
    channels=128,
    layers=2,
    predictor="modulated",
    width=256,
)
_WALL_LEWM = replace(
    _PUSH_T_LEWM, state_size=2, proprio_size=0, angles=(), proprio_weights=(), latent=32, channels=96, width=128
)
_END_TO_END = Recipe(
    model=_WALL_LEWM,
    steps=3_000,
    phases=(Phase(0.6, 5, 128), Phase(0.4, 25, 128, frozen=True)),
    tolerance=1.0,
    precision="bfloat16",
    latent_loss=LatentLoss(variance=0.0, decorrelation=0.0, sigreg=3.0, inverse=0.0),
)

# A perceptron on whole frames, for two processor cores.
_PUSH_T_PATCHES = PatchModelConfig(
    state_size=7,
    action_size=2,
    proprio_size=4,
    angles=(4,),
    proprio_weights=(1.0, 1.0, 0.0, 0.0),
    predictor="perceptron",
    width=384,
    heads=0,
    hidden=768,
)
_WALL_PATCHES = replace(_PUSH_T_PATCHES, state_size=2, proprio_size=2, angles=(), proprio_weights=())
_POINT_MAZE_PATCHES = replace(_PUSH_T_PATCHES, state_size=4, angles=())

# Transformers: of three frames, and, with a finer encoder, one for a GPU.
_PUSH_T_TOKENS = replace(_PUSH_T_PATCHES, context=3, predictor="transformer", width=128, heads=4, hidden=512)
_PUSH_T_TOKENS_LARGE = replace(
    _PUSH_T_TOKENS, strides=(8, 16), encoder_pixels=128, components=48, width=384, depth=6, heads=6, hidden=1536
)
_ON_PATCHES = Recipe(
    model=_WALL_PATCHES,
    steps=3_000,
    phases=(Phase(0.5, 10, 256), Phase(0.5, 25, 128)),
    tolerance=1.0,
)
_ON_PUSH_T_PATCHES = replace(
    _ON_PATCHES,
    model=_PUSH_T_PATCHES,
    steps=10_000,
    horizons=(5, 25, 50, 80),
    latent_loss=LatentLoss(measures="push_t"),
)


def _on_tokens(model: PatchModelConfig, steps: int, batch: int, lr: float, precision: str) -> Recipe:
    """Return the recipe of a transformer on the patches of Push-T."""
    phases = (Phase(0.6, 10, batch), Phase(0.4, 25, batch // 2))
    return replace(_ON_PUSH_T_PATCHES, model=model, steps=steps, phases=phases, lr=lr, precision=precision)


_PUSH_T_STATE = Recipe(
    model=StateModelConfig(state_size=7, action_size=2, features="push_t", width=192, depth=3),
    steps=24_000,
    phases=(Phase(0.5, 1, 1024), Phase(0.35, 5, 384), Phase(0.15, 15, 128)),
    lr=4e-3,
    tolerance=0.03,
    symmetry="push_t",
    horizons=(5, 25, 50, 80),
)

RECIPES: dict[str, Recipe] = {
    "pusht-state": _PUSH_T_STATE,
    "pusht-state-mixture": replace(_PUSH_T_STATE, model=replace(_PUSH_T_STATE.model, width=86, experts=4)),
    "pusht-state-frameskip-1": Recipe(
        model=StateModelConfig(
            state_size=7, action_size=2, features="push_t", frameskip=1, substeps=1, width=192, depth=3
        ),
        steps=30_000,
        phases=(Phase(0.45, 1, 1024), Phase(0.4, 5, 384), Phase(0.15, 15, 128)),
        lr=4e-3,
        tolerance=0.03,
        symmetry="push_t",
        horizons=(5, 10, 25, 50, 80),
    ),
    "pusht-state-diffusion": Recipe(
        model=StateModelConfig(
            state_size=7, action_size=2, features="push_t_diffusion", substeps=1, width=192, depth=3, octaves=0
        ),
        steps=24_000,
        phases=(Phase(1.0, 5, 1024),),
        symmetry="push_t",
        horizons=(5, 25, 50, 80),
    ),
    "wall-state": Recipe(
        model=StateModelConfig(state_size=2, action_size=2),
        steps=10_000,
        phases=(Phase(0.5, 1, 1024), Phase(0.5, 5, 512)),
    ),
    "pointmaze-state": Recipe(
        model=StateModelConfig(state_size=4, action_size=2, goal_weights=(1.0, 1.0, 0.0, 0.0)),
        steps=10_000,
        phases=(Phase(0.5, 1, 1024), Phase(0.5, 5, 512)),
    ),
    "wall-pixels": _one_point(LatentModelConfig(state_size=2, action_size=2, latent=4, channels=24, still=True)),
    "pointmaze-pixels": _one_point(
        LatentModelConfig(
            state_size=4,
            action_size=2,
            proprio_size=4,
            latent=4,
            channels=16,
            still=True,
            proprio_weights=(1.0, 1.0, 0.0, 0.0),
        )
    ),
    "pusht-pixels": Recipe(
        model=LatentModelConfig(
            state_size=7,
            action_size=2,
            angles=(4,),
            proprio_size=4,
            latent=4,
            channels=24,
            isotropic=True,
            still=True,
            predictor="rigid",
            substeps=5,
            width=192,
            octaves=4,
            view=(0.0, 512.0),
            own_radius=20.0,
            proprio_weights=(1.0, 1.0, 0.0, 0.0),
        ),
        steps=2_000,
        phases=(Phase(0.3, 15, 32), Phase(0.6, 25, 128, frozen=True), Phase(0.1, 50, 64, frozen=True)),
        tolerance=0.1,
        average=0.995,
        horizons=(5, 25, 50, 80),
        latent_loss=LatentLoss(decorrelation=0.5, relative=True, inverse=0.0, measures="push_t"),
    ),
    "wall-lewm": _END_TO_END,
    "pusht-lewm": replace(
        _END_TO_END,
        model=_PUSH_T_LEWM,
        steps=25_000,
        horizons=(5, 25, 50, 80),
        latent_loss=replace(_END_TO_END.latent_loss, measures="push_t"),
    ),
    "pusht-patches": _ON_PUSH_T_PATCHES,
    "pusht-patches-context-3": _on_tokens(_PUSH_T_TOKENS, 20_000, 64, 1e-3, "float32"),
    "pusht-patches-large": _on_tokens(_PUSH_T_TOKENS_LARGE, 60_000, 256, 5e-4, "bfloat16"),
    "wall-patches": _ON_PATCHES,
    "pointmaze-patches": replace(_ON_PATCHES, model=_POINT_MAZE_PATCHES),
}
