"""Visual latents of data sets: computed once by a frozen encoder, and kept on disk as float16."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import torch

from grasp_planner.data import Episodes
from grasp_planner.data.cache import FOLDER, fingerprint, writable
from grasp_planner.data.growing_file import grown
from grasp_planner.data.reading import locate
from grasp_planner.io.atomic import make_folder
from grasp_planner.io.progress import progress_bar
from grasp_planner.models.patches.patch_world_model import PatchWorldModel

AT_ONCE = 32  # few enough that the feature maps stay in the processor's cache


def visual_latents(model: PatchWorldModel, episodes: Episodes, *, progress: bool) -> np.ndarray:
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
                yield model.visual(seen[:, None])[:, 0].half().cpu().numpy()
                advance(len(seen))

    folder = None if episodes.source is None else episodes.source / FOLDER
    if folder is None or not writable(folder):
        return np.concatenate(list(parts(0)))
    return grown(make_folder(folder) / f"latents-{_key(model, episodes)}.npy", shape, np.float16, parts)


def _key(model: PatchWorldModel, episodes: Episodes) -> str:
    """Return a name for the latents of a data set under an encoder."""
    assert episodes.source is not None
    found = locate(episodes.source)
    digest = hashlib.sha256(json.dumps(fingerprint(found.files, found.root)).encode())
    digest.update(repr(model.pictures).encode())
    for part in (model.encoder, model.components):
        for name, tensor in part.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
