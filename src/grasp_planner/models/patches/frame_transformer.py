"""DINO-WM's predictor, which JEPA-WMs use, too: a frame-causal transformer over the patch tokens of a few frames."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.checkpoint import fill


class FrameTransformer(nn.Module):
    """A transformer in which a token attends to all tokens of its own frame and of earlier frames.

    Parameter names are those of the published checkpoints. The attention mask is computed from the input's shape.

    Args:
        frames: largest number of frames in a window.
        tokens: tokens per frame.
        width: numbers per token.
        depth: number of layers.
        heads: number of attention heads.
        head_width: numbers per head.
        hidden: hidden units of a layer's perceptron.

    Source: DINO-WM (arXiv 2411.04983), ``ViTPredictor``; written anew from its description, without dropout.
    """

    def __init__(
        self, *, frames: int, tokens: int, width: int, depth: int, heads: int, head_width: int, hidden: int
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, frames * tokens, width))
        layers = [
            nn.ModuleList([_Attention(width, heads, head_width), Perceptron(width, hidden)]) for _ in range(depth)
        ]
        self.transformer = nn.ModuleDict({"norm": nn.LayerNorm(width), "layers": nn.ModuleList(layers)})

    def forward(self, frames: Float[Tensor, "n k p d"]) -> Float[Tensor, "n k p d"]:
        """Return, for each frame, the prediction of the next frame from this frame and earlier frames."""
        count, tokens = frames.shape[1:3]
        x = frames.flatten(1, 2)
        x = x + self.pos_embedding[:, : x.shape[1]]
        mask = None if count == 1 else frame_causal_mask(count, tokens, x.device)
        for attention, perceptron in self.transformer["layers"]:  # type: ignore[misc]  (lists of two modules)
            x = attention(x, mask) + x
            x = perceptron(x) + x
        return self.transformer["norm"](x).unflatten(1, (count, tokens))


def frame_causal_mask(frames: int, tokens: int, device: torch.device) -> Tensor:
    """Return the mask (frames * tokens, frames * tokens): True where the column's frame is not after the row's."""
    frame = torch.arange(frames * tokens, device=device) // tokens
    return frame[:, None] >= frame[None, :]


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * inner, bias=False)
        self.to_out = nn.Identity() if heads == 1 and head_width == width else nn.Sequential(nn.Linear(inner, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        qkv = self.to_qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = functional.scaled_dot_product_attention(*qkv, attn_mask=mask)
        return self.to_out(out.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """The part of a transformer's layer that changes each token alone: W gelu(V norm(x) + b) + c.

    Args:
        width: numbers per token.
        hidden: hidden units.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        # The identity replaces dropout of the original, so that the names of parameters agree.
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width)
        )

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the change of each token."""
        return self.net(x)


def transformer_from(tensors: Mapping[str, Tensor], origin: str, *, tokens: int, heads: int) -> FrameTransformer:
    """Build the transformer from its weights, whose shapes give its sizes.

    Args:
        tensors: the ``state_dict``.
        origin: where the weights come from, for errors.
        tokens: tokens per frame.
        heads: number of attention heads.

    Raises:
        GraspPlannerError: the weights do not fit together, or they do not fit the number of tokens or heads.
    """
    # Some checkpoints store the attention mask with the weights. Here it is computed.
    tensors = {name: value for name, value in tensors.items() if not name.endswith(".0.bias") or value.ndim != 4}
    table, qkv = tensors.get("pos_embedding"), tensors.get("transformer.layers.0.0.to_qkv.weight")
    inner = tensors.get("transformer.layers.0.1.net.1.weight")
    if table is None or qkv is None or inner is None or table.ndim != 3:
        raise GraspPlannerError(f"{origin} does not hold DINO-WM's predictor; it has {sorted(tensors)[:5]}")
    if table.shape[1] % tokens or qkv.shape[0] % (3 * heads):
        raise GraspPlannerError(
            f"{origin}: positions for {table.shape[1]} tokens and {qkv.shape[0]} rows of to_qkv do not fit "
            f"{tokens} tokens a frame and {heads} heads"
        )
    model = FrameTransformer(
        frames=table.shape[1] // tokens,
        tokens=tokens,
        width=table.shape[2],
        depth=len({name.split(".")[2] for name in tensors if name.startswith("transformer.layers.")}),
        heads=heads,
        head_width=qkv.shape[0] // (3 * heads),
        hidden=inner.shape[0],
    )
    fill(model, tensors, f"{origin} does not hold DINO-WM's predictor")
    return model


class SlotCore(nn.Module):
    """A predictor that appends the embedded action to every patch token (``concat_dim: 1`` in DINO-WM's settings).

    Args:
        transformer: the predictor.
        action: module that embeds an action block.
        repeats: copies of the embedding in each patch token.
    """

    def __init__(self, transformer: FrameTransformer, action: nn.Linear, repeats: int = 1) -> None:
        super().__init__()
        self.transformer, self.action, self.repeats = transformer, action, repeats

    def forward(self, frames: Float[Tensor, "n k p d"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n p d"]:
        """Predict the frame after the last frame. The predicted action embeddings are dropped."""
        slots = self.action(actions).repeat(1, 1, self.repeats)[:, :, None].expand(-1, -1, frames.shape[2], -1)
        return self.transformer(torch.cat([frames, slots], dim=-1))[:, -1, :, : frames.shape[-1]]


def linear_from(tensors: Mapping[str, Tensor], origin: str) -> nn.Linear:
    """Build an embedder, which checkpoints store as a convolution over time with a kernel of one step.

    Raises:
        GraspPlannerError: the weights belong to another kind of layer.
    """
    weight, bias = tensors.get("patch_embed.weight"), tensors.get("patch_embed.bias")
    if len(tensors) != 2 or weight is None or bias is None or weight.ndim != 3 or weight.shape[-1] != 1:
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        raise GraspPlannerError(f"{origin} must be an embedder with a kernel of one step, got {shapes}")
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    fill(layer, {"weight": weight[..., 0], "bias": bias}, origin)
    return layer
