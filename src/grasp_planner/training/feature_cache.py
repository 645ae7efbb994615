"""Visual latents of data sets: computed once by a pretrained encoder, and kept on disk as float16."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence

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
    sizes = np.array([len(part.array("pixels")) for part in parts])
    count = min(FITTED_PICTURES, int(sizes.sum()))
    rows = np.sort(np.random.default_rng(seed).choice(int(sizes.sum()), count, replace=False))
    features = []
    for part, end in zip(parts, np.cumsum(sizes)):
        start = end - len(part.array("pixels"))
        own = rows[(rows >= start) & (rows < end)] - start
        for first in range(0, len(own), AT_ONCE):
            chosen = torch.from_numpy(part.array("pixels")[own[first : first + AT_ONCE]])[:, None]
            features.append(encoder.network(model.transform(chosen, model.low)))
    encoder.components.fit(torch.cat(features))


def visual_latents(model: LatentModel, episodes: Episodes, *, progress: bool) -> np.ndarray:
    """Encode all pictures of a data set.

    The result is stored in the folder ``.arrays`` of the data set, under a name that depends on the encoder, its
    principal components and the files of the data set. An interrupted computation continues. For episodes in memory,
    and in a folder that cannot be written, the result is kept in memory.

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

    folder = None if episodes.source is None else episodes.source / FOLDER
    if folder is None or not writable(folder):
        return np.concatenate(list(parts(0)))
    return grown(make_folder(folder) / f"latents-{_key(model, episodes)}.npy", shape, np.float16, parts)


def _key(model: LatentModel, episodes: Episodes) -> str:
    """Return a name for the latents of a data set under an encoder."""
    assert episodes.source is not None
    found = locate(episodes.source)
    digest = hashlib.sha256(json.dumps(fingerprint(found.files, found.root)).encode())
    digest.update(repr(model.transform).encode())
    for name, tensor in model.encoder.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
