"""Visual latents of data sets: computed once by a pretrained encoder, and kept on disk as float16."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes
from grasp_planner.data.cache import FOLDER, fingerprint, writable
from grasp_planner.data.growing_file import grown
from grasp_planner.data.reading import locate
from grasp_planner.io.atomic import make_folder
from grasp_planner.io.progress import progress_bar
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.latent.patch_encoder import PatchEncoder, pretrained_network

FITTED_PICTURES = 4_096
SAMPLED = 64  # pictures that tell two arrays of pictures apart
AT_ONCE = 32  # few enough that the feature maps stay in the processor's cache


def with_features(
    model: LatentModel, parts: Sequence[Episodes], keys: Sequence[str], *, seed: int | None, progress: bool
) -> list[Episodes]:
    """Encode the pictures of data sets, after giving the encoder its pretrained weights and principal components.

    Args:
        model: a model on patch features, whose encoder is changed.
        parts: the data sets.
        keys: the observations to keep.
        seed: seed of the sample of pictures from which the principal components are computed; ``None``: the encoder has
            its weights and its components already.
        progress: show a progress bar.

    Returns:
        The data sets with the observations ``keys`` and ``"visual"``.

    Raises:
        GraspPlannerError: the pretrained weights are missing, the pictures are all the same, or the visual latents
            cannot be written.
    """
    if seed is not None:
        _fit(model, parts, seed)
    return [
        dataclasses.replace(
            part,
            observations={
                **{key: part.array(key) for key in keys},
                "visual": visual_latents(model, part, progress=progress),
            },
        )
        for part in parts
    ]


@torch.no_grad()
def _fit(model: LatentModel, parts: Sequence[Episodes], seed: int) -> None:
    """Load the pretrained weights, and compute the principal components of the features."""
    config, encoder = model.config, model.encoder
    if not isinstance(config, PatchModelConfig) or not isinstance(encoder, PatchEncoder):
        raise GraspPlannerError(f"needed a model with a pretrained encoder, got {config}")
    encoder.network.load_state_dict(pretrained_network(config).state_dict())
    known = [part.observation_rows for part in parts]
    total = sum(len(rows) for rows in known)
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(FITTED_PICTURES, total), replace=False))
    features, start = [], 0
    for part, rows in zip(parts, known):
        own = rows[drawn[(start <= drawn) & (drawn < start + len(rows))] - start]
        start += len(rows)
        for first in range(0, len(own), AT_ONCE):
            pictures = torch.from_numpy(part.array("pixels")[own[first : first + AT_ONCE]])[:, None]
            features.append(encoder.network(model.transform(pictures, model.low)))
    encoder.components.fit(torch.cat(features))


def visual_latents(model: LatentModel, episodes: Episodes, *, progress: bool) -> np.ndarray:
    """Encode all pictures of a data set.

    The result is stored in the folder ``.arrays`` of the data set, under a name that depends on the encoder, its
    principal components, the files of the data set, and a sample of the pictures. An interrupted computation continues,
    and processes that need the same result wait for each other. For episodes that were not read from a folder, and for
    a folder that cannot be written, the result is kept in memory.

    Args:
        model: the model, whose encoder is used.
        episodes: the data set.
        progress: show a progress bar.

    Returns:
        (rows, v) float16, a row for each row of ``episodes.array("pixels")``.

    Raises:
        GraspPlannerError: the file cannot be written, or it is broken.
    """
    pixels = episodes.array("pixels")
    shape = (len(pixels), model.config.visual)

    @torch.no_grad()
    def parts(first: int) -> Iterator[np.ndarray]:
        with progress_bar("encoding pictures", len(pixels), done=first, show=progress) as advance:
            for row in range(first, len(pixels), AT_ONCE):
                seen = torch.from_numpy(np.array(pixels[row : row + AT_ONCE])).to(model.low.device)
                yield model.visual({"pixels": seen[:, None]})[:, 0].half().cpu().numpy()
                advance(len(seen))

    source = episodes.source
    if source is None or not source.is_dir() or not writable(source / FOLDER):
        return np.concatenate(list(parts(0)))
    path = make_folder(source / FOLDER) / f"latents-{_key(model, source, pixels)}.npy"
    return grown(path, shape, np.float16, parts)


def _key(model: LatentModel, source: Path, pixels: np.ndarray) -> str:
    """Return a name for the latents of the pictures of a data set under an encoder."""
    found = locate(source)
    digest = hashlib.sha256(json.dumps(fingerprint(found.files, found.root)).encode())
    # A data set can have several cameras, and pictures can be changed after they were read.
    sample = pixels[np.linspace(0, len(pixels) - 1, SAMPLED).round().astype(np.int64)]
    digest.update(f"{pixels.shape} {model.transform}".encode())
    digest.update(sample.tobytes())
    for name, tensor in model.encoder.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
