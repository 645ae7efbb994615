"""Loading checkpoints of DINO-WM: ``hydra.yaml`` and ``checkpoints/model_*.pth``."""

from __future__ import annotations

from pathlib import Path

import torch

from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.io.torch_files import Part, read_parts
from grasp_planner.models.dino_wm.token_core import TokenCore
from grasp_planner.models.normalisation import PUBLISHED, Statistics, identity_statistics
from grasp_planner.models.patches.dinov2 import dinov2_from, load_dinov2
from grasp_planner.models.patches.frame_transformer import SlotCore, linear_from, transformer_from
from grasp_planner.models.patches.layout import Layout
from grasp_planner.models.patches.model import Encoder, PatchModel, for_planning
from grasp_planner.models.patches.yaml_settings import Settings
from grasp_planner.models.picture_transform import Pictures
from grasp_planner.models.use_settings import UseSettings

SETTINGS_FILE = "hydra.yaml"
WEIGHTS_FOLDER = "checkpoints"
# A patch of the encoder has 14 pixels a side. The number of patches is that of the decoder, whose patches have 16.
_PATCH, _DECODER_SCALE = 14, 16
_TOKENS = {"x_norm_patchtokens": "patches", "x_norm_clstoken": "class"}


def load_dino_wm(
    folder: str | Path,
    statistics: Statistics | str | None = None,
    *,
    allow_pickle: bool = False,
    epoch: int | str = "latest",
    encoder: Encoder | None = None,
    use: UseSettings | None = None,
    device: str | torch.device = "cpu",
) -> PatchModel:
    """Load a trained model of DINO-WM, frozen and in evaluation mode; nothing is downloaded.

    The checkpoint is a pickle of whole modules. ``grasp_planner.io.torch_files`` reads the tensors without building a
    class or calling a function of the pickle. This function then copies the tensors to modules of this package.

    Args:
        folder: the folder with ``hydra.yaml`` and ``checkpoints/``.
        statistics: means and standard deviations of the training data, which no checkpoint contains: a
            :class:`Statistics`, or ``"published"`` for the statistics of the published data set of the same
            environment. Not needed for a model trained with ``normalize_action: False``.
        allow_pickle: must be True, as a consent to reading a pickle.
        epoch: epoch in the name of the file ``checkpoints/model_<epoch>.pth``.
        encoder: a module that maps normalised pictures (n, 3, side, side) to patch tokens (n, p, d). ``None``: the
            encoder in the checkpoint if the encoder was trained, otherwise DINOv2 from torch.hub's folder on this
            machine.
        use: settings for planning: weight of proprioception in goals, history, bounds, scale.
        device: device of the tensors.

    Raises:
        GraspPlannerError: consent or statistics are missing; files are missing, truncated, refused, or do not fit
            together; this kind of model is not supported.

    Example:
        >>> use = UseSettings(alpha=1.0, history=1)
        >>> load_dino_wm("outputs/pusht", "published", allow_pickle=True, use=use)  # doctest: +SKIP

        ``examples/dino_wm_checkpoint.py`` makes a small checkpoint, loads it and plans in it.

    Source: DINO-WM (arXiv 2411.04983) and its code. Differences: a plan starts from up to h observed frames, while
    their code starts from one frame (``UseSettings(history=1)``); actions have bounds; a latent does not contain the
    action.
    """
    folder = Path(folder)
    settings = Settings(folder / SETTINGS_FILE)
    path = folder / WEIGHTS_FOLDER / f"model_{epoch}.pth"
    if not allow_pickle:
        raise GraspPlannerError(
            f"{path} holds pickled Python objects, which are not read unless you agree. grasp-planner reads their "
            "tensors and runs none of their code; pass allow_pickle=True to agree"
        )
    concat = settings.require("concat_dim", 0, 1)
    parts = read_parts(path, ("predictor", "action_encoder", "proprio_encoder", "encoder"))
    action, proprio = (linear_from(_embedder(parts, name, path), f"{name} in {path}") for name in _EMBEDDERS)
    heads, side = settings.integer("predictor.heads", 1), settings.integer("img_size", _DECODER_SCALE)
    token, patches = _visual_tokens(settings, side)
    predictor = transformer_from(
        _needed(parts, "predictor", path).tensors,
        f"'predictor' in {path}",
        tokens=patches + (2 if concat == 0 else 0),
        heads=heads,
    )
    context = settings.integer("num_hist", 1)
    width, room = predictor.pos_embedding.shape[2], predictor.pos_embedding.shape[1] // (patches + 2 * (1 - concat))
    if context > room:
        raise GraspPlannerError(f"{settings.path} has num_hist {context}, but the predictor has {room} frames")
    repeats = tuple(settings.integer(f"num_{name}_repeat", 1) for name in ("action", "proprio"))
    slots = repeats[0] * action.out_features + repeats[1] * proprio.out_features
    layout = Layout(patches, width - concat * slots, proprio.out_features, repeats[1], as_token=concat == 0)
    frameskip = settings.integer("frameskip", 1)
    # Before the encoder is loaded, so that missing statistics are reported first.
    normal = _statistics(statistics, settings, action.in_features // frameskip, proprio.in_features)
    model = PatchModel(
        SlotCore(predictor, action, repeats[0]) if concat == 1 else TokenCore(predictor, action),
        layout,
        _encoder(parts, settings, token, path) if encoder is None else encoder,
        proprio,
        pictures=Pictures(side, encoder_size=side // _DECODER_SCALE * _PATCH),
        statistics=normal,
        context=context,
        frameskip=frameskip,
        use=use,
    )
    return for_planning(model, action.in_features, device)


_EMBEDDERS = ("action_encoder", "proprio_encoder")


def _needed(parts: dict[str, Part], name: str, path: Path) -> Part:
    if name not in parts:
        raise GraspPlannerError(f"{path} must hold {name!r}; it has {sorted(parts) or 'none of the entries needed'}")
    return parts[name]


def _embedder(parts: dict[str, Part], name: str, path: Path) -> dict[str, torch.Tensor]:
    part = _needed(parts, name, path)
    if not part.kind.endswith(".ProprioceptiveEmbedding"):
        raise GraspPlannerError(f"{name!r} in {path} is a {part.kind}; supported is ProprioceptiveEmbedding")
    return part.tensors


def _visual_tokens(settings: Settings, side: int) -> tuple[str, int]:
    """Return the kind of tokens that the encoder gives, and their number."""
    key = settings.get("encoder.feature_key", "x_norm_patchtokens")
    if key not in _TOKENS:
        raise unknown_name(f"encoder.feature_key in {settings.path}", str(key), _TOKENS)
    return _TOKENS[key], 1 if _TOKENS[key] == "class" else (side // _DECODER_SCALE) ** 2


def _encoder(parts: dict[str, Part], settings: Settings, token: str, path: Path) -> Encoder:
    if "encoder" in parts:
        tensors = {name.removeprefix("base_model."): value for name, value in parts["encoder"].tensors.items()}
        return dinov2_from(tensors, f"'encoder' in {path}", token)
    name = settings.get("encoder.name", "")
    if not str(name).startswith("dinov2_"):
        raise GraspPlannerError(f"{settings.path} names the encoder {name!r}; supported is DINOv2. Pass encoder=")
    return load_dinov2(str(name), token)


def _statistics(given: Statistics | str | None, settings: Settings, actions: int, proprio: int) -> Statistics:
    if isinstance(given, Statistics):
        return given
    if settings.get("normalize_action") is False:
        return identity_statistics(actions, proprio)
    name = settings.get("env.name", "unknown")
    if given == "published" and name in PUBLISHED:
        return PUBLISHED[name]
    raise GraspPlannerError(
        f"needed the statistics of the data that {settings.path.parent} (environment {name!r}) was trained on, got "
        f"{given!r}: pass statistics=Statistics(action_mean, action_std, proprio_mean, proprio_std), or 'published' if "
        f"it was trained on a published data set of {', '.join(sorted(PUBLISHED))}"
    )
