"""DINO-WM's predictor: a vision transformer over the patch tokens of a few frames, causal from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.files import mismatch


class FrameTransformer(nn.Module):
    """Attention in which a token reads all tokens of its own and of earlier frames.

    Parameter names are those of the published checkpoints. The mask is made from the input's shape on its device.

    Args:
        frames: most frames in a window.
        tokens: tokens a frame.
        width: numbers a token.
        depth: layers.
        heads: attention heads.
        head_width: numbers a head.
        hidden: units in the perceptron of a layer.

    Source: DINO-WM (arXiv 2411.04983), ``ViTPredictor``; written anew from its description, without dropout.
    """

    def __init__(
        self, *, frames: int, tokens: int, width: int, depth: int, heads: int, head_width: int, hidden: int
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, frames * tokens, width))
        layers = [
            nn.ModuleList([_Attention(width, heads, head_width), _Perceptron(width, hidden)]) for _ in range(depth)
        ]
        self.transformer = nn.ModuleDict({"norm": nn.LayerNorm(width), "layers": nn.ModuleList(layers)})

    def forward(self, frames: Float[Tensor, "n k p d"]) -> Float[Tensor, "n k p d"]:
        """The frame that follows each, seen from the ones up to it."""
        count, tokens = frames.shape[1:3]
        x = frames.flatten(1, 2)
        x = x + self.pos_embedding[:, : x.shape[1]]
        mask = None if count == 1 else frame_causal_mask(count, tokens, x.device)
        for attention, perceptron in self.transformer["layers"]:  # type: ignore[misc]  (lists of two modules)
            x = attention(x, mask) + x
            x = perceptron(x) + x
        return self.transformer["norm"](x).unflatten(1, (count, tokens))


def frame_causal_mask(frames: int, tokens: int, device: torch.device) -> Tensor:
    """(frames * tokens) squared, True where a row may read a column: its own frame and earlier ones."""
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


class _Perceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        # Two places are empty where the original has dropout, so that names of parameters agree.
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def transformer_from(tensors: Mapping[str, Tensor], origin: str, *, tokens: int, heads: int) -> FrameTransformer:
    """The predictor that these weights belong to; sizes are read off them.

    Raises:
        GraspPlannerError: the weights do not fit together, or not to the number of tokens or heads.
    """
    # Some versions keep the mask among the weights; here it is computed.
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
    if problem := mismatch(model.state_dict(), tensors):
        raise GraspPlannerError(f"{origin} does not hold DINO-WM's predictor: {problem}")
    model.load_state_dict(tensors)
    return model


class SlotCore(nn.Module):
    """The embedded action stands beside every patch token (``concat_dim: 1``).

    Args:
        transformer: the predictor.
        action: embeds an action block.
        repeats: copies of the embedding on each patch.
    """

    def __init__(self, transformer: FrameTransformer, action: nn.Linear, repeats: int = 1) -> None:
        super().__init__()
        self.transformer, self.action, self.repeats = transformer, action, repeats

    def forward(self, frames: Float[Tensor, "n k p d"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n p d"]:
        """The frame after the last one; the predicted action slots are dropped."""
        slots = self.action(actions).repeat(1, 1, self.repeats)[:, :, None].expand(-1, -1, frames.shape[2], -1)
        return self.transformer(torch.cat([frames, slots], dim=-1))[:, -1, :, : frames.shape[-1]]


class TokenCore(nn.Module):
    """The embedded action is one token more, after the proprioception (``concat_dim: 0``).

    Args:
        transformer: the predictor.
        action: embeds an action block, as wide as a token.
    """

    def __init__(self, transformer: FrameTransformer, action: nn.Linear) -> None:
        super().__init__()
        self.transformer, self.action = transformer, action

    def forward(self, frames: Float[Tensor, "n k p d"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n p d"]:
        """The frame after the last one; the predicted action token is dropped."""
        return self.transformer(torch.cat([frames, self.action(actions)[:, :, None]], dim=2))[:, -1, :-1]


def linear_from(tensors: Mapping[str, Tensor], origin: str) -> nn.Linear:
    """An embedder, which checkpoints hold as a convolution over time with a kernel of one step.

    Raises:
        GraspPlannerError: the weights are of something else.
    """
    weight, bias = tensors.get("patch_embed.weight"), tensors.get("patch_embed.bias")
    if len(tensors) != 2 or weight is None or bias is None or weight.ndim != 3 or weight.shape[-1] != 1:
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        raise GraspPlannerError(f"{origin} must be an embedder with a kernel of one step, got {shapes}")
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    if problem := mismatch(layer.state_dict(), {"weight": weight[..., 0], "bias": bias}):
        raise GraspPlannerError(f"{origin}: {problem}")
    layer.load_state_dict({"weight": weight[..., 0], "bias": bias})
    return layer
