"""Loading checkpoints of JEPA-WMs: ``*.pth.tar``, with the YAML file of their evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.torch_files import read_parts
from grasp_planner.models.jepa_wms.adaln_predictor import modulated_from
from grasp_planner.models.normalisation import PUBLISHED, Statistics, identity_statistics
from grasp_planner.models.patches.dinov2 import load_dinov2
from grasp_planner.models.patches.frame_transformer import SlotCore, linear_from, transformer_from
from grasp_planner.models.patches.layout import Layout
from grasp_planner.models.patches.model import Encoder, PatchModel, for_planning
from grasp_planner.models.patches.yaml_settings import Settings
from grasp_planner.models.picture_transform import IMAGENET_MEAN, IMAGENET_STD, Pictures
from grasp_planner.models.use_settings import UseSettings

_TASKS = {"PushT": "pusht", "PointMaze": "point_maze", "Wall": "wall"}
_NETWORK, _DATA = "model_kwargs.pretrain_kwargs", "model_kwargs.data"


def load_jepa_wms(
    checkpoint: str | Path,
    settings: str | Path,
    statistics: Statistics | str | None = None,
    *,
    encoder: Encoder | None = None,
    use: UseSettings | None = None,
    device: str | torch.device = "cpu",
) -> PatchModel:
    """Load a trained model of JEPA-WMs, frozen and in evaluation mode; nothing is downloaded.

    The published models on DINOv2 are supported: ``jepa_wm_*`` (AdaLN predictor) and ``dino_wm_*``. Only tensors are
    read from the checkpoint; no code in it is run.

    Args:
        checkpoint: the ``.pth.tar`` file.
        settings: the YAML file of the checkpoint, as in ``configs/evals/simu_env_planning`` of the JEPA-WMs repository.
        statistics: :class:`Statistics` of the training data, or ``"published"`` for Push-T, PointMaze and Wall.
        encoder: a module that maps normalised pictures (n, 3, side, side) to patch tokens (n, p, d). ``None``: DINOv2
            from torch.hub's folder on this machine.
        use: settings for planning: proprioception's weight in goals (published: ``alpha=0.1``), history, bounds, scale.
        device: device of the tensors.

    Raises:
        GraspPlannerError: statistics are missing; files are missing, truncated, refused, or do not fit together; this
            kind of model is not supported.

    Example:
        >>> use = UseSettings(alpha=0.1, history=1)
        >>> load_jepa_wms("pt_jepa-wm.pth.tar", "pt_jepa-wm.yaml", "published", use=use)  # doctest: +SKIP

    Source: JEPA-WMs (arXiv 2512.24497) and its code. Differences: a plan starts from up to h observed frames, while
    their code starts from one frame (``UseSettings(history=1)``); actions have bounds.
    """
    path = Path(checkpoint)
    config = Settings(Path(settings))
    _supported(config)
    parts = read_parts(path, ("predictor", "action_encoder", "proprio_encoder"))
    if "predictor" not in parts:
        raise GraspPlannerError(f"{path} must hold 'predictor'; found {sorted(parts) or 'none of the entries needed'}")
    tensors = {name: part.tensors for name, part in parts.items()}
    side = config.integer(f"{_NETWORK}.grid_size", 1)
    pictures = _pictures(config)
    if pictures.size % side:
        raise GraspPlannerError(f"{config.path}: {pictures.size} pixels do not divide into {side} patches")
    proprio = linear_from(tensors["proprio_encoder"], f"'proprio_encoder' in {path}") if _proprio(config) else None
    core, visual, actions = _core(config, tensors, path, side)
    frameskip = config.integer(f"{_DATA}.custom.frameskip", 1)
    context, room = config.integer("model_kwargs.wrapper_kwargs.ctxt_window", 1), _frames(config, core)
    if context > room:
        raise GraspPlannerError(f"{config.path} has ctxt_window {context}, but the predictor has {room} frames")
    width = 0 if proprio is None else proprio.out_features
    if width != _proprio(config):
        raise GraspPlannerError(
            f"{config.path} wants {_proprio(config)} proprioceptive numbers a patch, {path} {width}"
        )
    # Before the encoder is loaded, so that missing statistics are reported first.
    normal = _statistics(statistics, config, actions // frameskip, proprio)
    model = PatchModel(
        core,
        Layout(side * side, visual - width, width, goal_everywhere=True),
        load_dinov2(str(config.get(f"{_NETWORK}.visual_encoder.enc_version"))) if encoder is None else encoder,
        proprio,
        pictures=pictures,
        statistics=normal,
        context=context,
        frameskip=frameskip,
        use=use,
    )
    return for_planning(model, actions, device)


def _supported(config: Settings) -> None:
    """Raise on settings with which the model would load but compute something else.

    Raises:
        GraspPlannerError: a setting is not supported.
    """
    config.require(f"{_NETWORK}.predictor.pred_type", "AdaLN", "dino_wm")
    config.require(f"{_NETWORK}.visual_encoder.enc_type", "dino")
    config.require(f"{_NETWORK}.tubelet_size_enc", 1)
    config.require(f"{_NETWORK}.proprio_encoding", "feature", "none", None)
    config.require(f"{_NETWORK}.wm_encoding.normalize_reps", False, None)
    config.require(f"{_DATA}.custom.action_skip", 1, None)
    config.require("model_kwargs.wrapper_kwargs.proprio_mode", "predict_proprio", None)
    for name in ("action_encoder.act_mlp", "proprio_encoder.prop_mlp", "proprio_encoder.proprio_encoder_inpred"):
        config.require(f"{_NETWORK}.{name}", False, None)
    if config.get(f"{_NETWORK}.predictor.pred_type") == "AdaLN":
        config.require(f"{_NETWORK}.action_encoder.action_encoder_inpred", True)
        config.require(f"{_NETWORK}.predictor.use_rope", True)
        config.require(f"{_NETWORK}.predictor.use_SiLU", False, None)


def _core(config: Settings, tensors: dict[str, dict[str, Tensor]], path: Path, side: int) -> tuple[nn.Module, int, int]:
    """Return the predictor, the size of a frame's token, and the size of an action block."""
    heads = config.integer(f"{_NETWORK}.predictor.pred_num_heads", 1)
    origin = f"'predictor' in {path}"
    if config.get(f"{_NETWORK}.predictor.pred_type") == "AdaLN":
        windows = (config.get(f"{_NETWORK}.attn.local_window_{axis}", -1) for axis in ("time", "h", "w"))
        causal = any(size > 0 for size in windows)
        predictor = modulated_from(tensors["predictor"], origin, side=side, heads=heads, causal=causal)
        return (
            predictor,
            predictor.predictor_proj.out_features + predictor.proprio,
            predictor.action_encoder.in_features,
        )
    if "action_encoder" not in tensors:
        raise GraspPlannerError(f"{path} must hold 'action_encoder'; found {sorted(tensors)}")
    action = linear_from(tensors["action_encoder"], f"'action_encoder' in {path}")
    transformer = transformer_from(tensors["predictor"], origin, tokens=side * side, heads=heads)
    return SlotCore(transformer, action), transformer.pos_embedding.shape[2] - action.out_features, action.in_features


def _frames(config: Settings, core: nn.Module) -> int:
    """Return the largest number of frames in a window."""
    if isinstance(core, SlotCore):
        return core.transformer.pos_embedding.shape[1] // config.integer(f"{_NETWORK}.grid_size", 1) ** 2
    return config.integer(f"{_NETWORK}.num_frames_pred", 1)


def _proprio(config: Settings) -> int:
    """Return the numbers of embedded proprioception in each patch token; 0: the model has none."""
    if config.get(f"{_NETWORK}.proprio_encoding") in ("none", None):
        return 0
    return config.integer(f"{_NETWORK}.proprio_encoder.proprio_emb_dim")


def _pictures(config: Settings) -> Pictures:
    mean, std = config.get("model_kwargs.data_aug.normalize", (IMAGENET_MEAN, IMAGENET_STD))
    return Pictures(config.integer(f"{_DATA}.img_size", 1), _colours(mean, config), _colours(std, config))


def _colours(values: Any, config: Settings) -> tuple[float, float, float]:
    if len(values) != 3:
        raise GraspPlannerError(f"{config.path}: data_aug.normalize must hold two lists of 3 numbers, got {values!r}")
    return tuple(float(value) for value in values)  # type: ignore[return-value]  (the length is checked)


def _statistics(
    given: Statistics | str | None, config: Settings, actions: int, proprio: nn.Linear | None
) -> Statistics:
    if isinstance(given, Statistics):
        return given
    if config.get(f"{_DATA}.custom.normalize_action") is False:
        return identity_statistics(actions, 0 if proprio is None else proprio.in_features)
    names = config.get(f"{_DATA}.datasets", [])
    known = [_TASKS[name] for name in names if name in _TASKS]
    if given == "published" and len(known) == len(names) == 1:
        return PUBLISHED[known[0]]
    raise GraspPlannerError(
        f"needed the statistics of the data that {config.path} names ({', '.join(map(str, names)) or 'none'}), got "
        f"{given!r}: pass statistics=Statistics(action_mean, action_std, proprio_mean, proprio_std), or 'published' "
        f"for one of {', '.join(sorted(_TASKS))}"
    )
