"""The encoder DINOv2, with the weights that ``torch.hub`` has stored on this machine; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.torch_files import load_tensors
from grasp_planner.models.checkpoint import fill

HEAD_WIDTH = 64  # width of an attention head in every published size of the model


class DinoV2(nn.Module):
    """DINOv2's vision transformer: normalised patch tokens of pictures whose sides are multiples of the patch size.

    Parameter names are those of the published weights, so that their ``state_dict`` fits unchanged.

    Args:
        width: numbers per token, a multiple of 64.
        depth: number of blocks.
        patch: side of a patch, in pixels.
        grid: side of the training pictures, in patches; the size of the position table.
        token: ``"patches"`` for the patch tokens, ``"class"`` for the class token.

    Example:
        >>> encoder = DinoV2(width=64, depth=1, patch=14, grid=4)
        >>> encoder(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 4, 64])

    Source: DINOv2 (arXiv 2304.07193), ViT without register tokens; written anew from its description. Positions are
    interpolated as in the original code: bicubic, with 0.1 patches added to the size in the scale factor, which moves
    the sampling points by a fraction of a patch.
    """

    def __init__(self, width: int, depth: int, patch: int, grid: int, token: str = "patches") -> None:
        super().__init__()
        if token not in ("patches", "class"):
            raise GraspPlannerError(f"DinoV2.token must be 'patches' or 'class', got {token!r}")
        self.patch, self.grid, self.token = patch, grid, token
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid + 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # used only in training
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pictures: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n p d"]:
        """Return the tokens after the last normalisation."""
        height, width = pictures.shape[-2:]
        if height % self.patch or width % self.patch:
            raise GraspPlannerError(f"DINOv2 needs sides that are multiples of {self.patch}, got {height} x {width}")
        tokens = self.patch_embed["proj"](pictures).flatten(2).mT
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(height // self.patch, width // self.patch)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return tokens[:, 1:] if self.token == "patches" else tokens[:, :1]

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 p_plus_1 d"]:
        """Return the position table, interpolated to a grid of rows x columns patches."""
        if rows == columns == self.grid:
            return self.pos_embed
        summary, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        table = patches.unflatten(1, (self.grid, self.grid)).movedim(-1, 1)
        factor = ((rows + 0.1) / self.grid, (columns + 0.1) / self.grid)
        table = functional.interpolate(table, scale_factor=factor, mode="bicubic")
        return torch.cat([summary, table.flatten(2).mT], dim=1)


class _Block(nn.Module):
    """A transformer block with layer scale: x + gamma_1 attention(norm x), then x + gamma_2 mlp(norm x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1 = nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))})
        self.ls2 = nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))})

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.attn["qkv"](self.norm1(tokens)).unflatten(-1, (3, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
        tokens = tokens + self.ls1["gamma"] * self.attn["proj"](mixed)
        inner = functional.gelu(self.mlp["fc1"](self.norm2(tokens)))
        return tokens + self.ls2["gamma"] * self.mlp["fc2"](inner)


def dinov2_from(tensors: Mapping[str, Tensor], origin: str, token: str = "patches") -> DinoV2:
    """Build DINOv2 from its weights.

    Args:
        tensors: the published ``state_dict``.
        origin: where the weights come from, for errors.
        token: ``"patches"`` or ``"class"``.

    Raises:
        GraspPlannerError: the weights belong to another network (the giant size, or with register tokens), or they do
            not fit together.
    """
    if "register_tokens" in tensors or "blocks.0.mlp.w12.weight" in tensors:
        raise GraspPlannerError(f"{origin}: DINOv2 with register tokens or of the giant size is not supported")
    projection, table = tensors.get("patch_embed.proj.weight"), tensors.get("pos_embed")
    if projection is None or table is None or projection.ndim != 4 or table.ndim != 3:
        raise GraspPlannerError(f"{origin} does not hold the weights of DINOv2: no patch_embed.proj.weight, pos_embed")
    width, patch, grid = table.shape[-1], projection.shape[-1], round((table.shape[1] - 1) ** 0.5)
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    if width % HEAD_WIDTH or grid * grid != table.shape[1] - 1:
        raise GraspPlannerError(f"{origin} does not hold the weights of DINOv2: pos_embed is {tuple(table.shape)}")
    encoder = DinoV2(width, depth, patch, grid, token)
    fill(encoder, tensors, f"{origin} does not hold the weights of DINOv2")
    return encoder


def load_dinov2(name: str = "dinov2_vits14", token: str = "patches") -> DinoV2:
    """Load DINOv2 from torch.hub's folder on this machine; nothing is downloaded.

    Args:
        name: ``"dinov2_vits14"``, ``"dinov2_vitb14"`` or ``"dinov2_vitl14"``.
        token: ``"patches"`` or ``"class"``.

    Raises:
        GraspPlannerError: the weights are missing (the message says where to put them) or broken.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{name}_pretrain.pth"
    if not path.is_file():
        raise GraspPlannerError(
            f"needed the weights of DINOv2 at {path}, which are not there. Get {name}_pretrain.pth from "
            "https://github.com/facebookresearch/dinov2 (list of pretrained backbones) and put it there, or set "
            "TORCH_HOME to the folder whose hub/checkpoints holds it, or pass encoder="
        )
    try:
        tensors = load_tensors(path)
    except GraspPlannerError as error:
        raise GraspPlannerError(f"{path} is not a whole file of weights ({error}): get it again") from error
    if not isinstance(tensors, dict):
        raise GraspPlannerError(f"{path} must hold a dictionary of weights, got {type(tensors).__name__}")
    return dinov2_from(tensors, str(path), token)
