"""The AdaLN predictor of JEPA-WMs: a transformer modulated by actions, with rotary positions in three axes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.checkpoint import fill
from grasp_planner.models.patches.frame_transformer import frame_causal_mask


class ModulatedTransformer(nn.Module):
    """Predict patch tokens from patch tokens and one action per frame, by adaptive layer normalisation.

    Parameter names are those of the published checkpoints.

    Args:
        side: side of a picture, in patches.
        visual: numbers in a patch token.
        proprio: numbers of embedded proprioception in each patch token; 0: no proprioception.
        action: numbers in an action block.
        width: numbers in an inner token, without proprioception.
        depth: number of blocks.
        heads: number of attention heads.
        causal: whether a frame attends only to itself and to earlier frames.

    Source: JEPA-WMs (arXiv 2512.24497), the AdaLN predictor; written anew from its description.
    """

    def __init__(
        self, *, side: int, visual: int, proprio: int, action: int, width: int, depth: int, heads: int, causal: bool
    ) -> None:
        super().__init__()
        self.causal, self.proprio = causal, proprio
        total = width + proprio
        self.predictor_embed = nn.Linear(visual, width)
        self.action_encoder = nn.Linear(action, total)
        self.predictor_blocks = nn.ModuleList(_Block(total, heads, side) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(total, eps=1e-6)
        self.predictor_proj = nn.Linear(width, visual)

    def begin_as_identity(self) -> None:
        """Set the weights of all shifts, scales and gates to 0, so that no block changes its tokens."""
        for name, parameter in self.named_parameters():
            if "adaLN_modulation" in name:
                nn.init.zeros_(parameter)

    def forward(self, frames: Float[Tensor, "n k p d"], actions: Float[Tensor, "n k a"]) -> Float[Tensor, "n p d"]:
        """Predict the frame after the last frame."""
        count, patches = frames.shape[1:3]
        visual = frames.shape[-1] - self.proprio
        x = torch.cat([self.predictor_embed(frames[..., :visual]), frames[..., visual:]], dim=-1).flatten(1, 2)
        done = self.action_encoder(actions)
        mask = frame_causal_mask(count, patches, x.device) if self.causal and count > 1 else None
        for block in self.predictor_blocks:
            x = block(x, done, mask)
        x = self.predictor_norm(x).unflatten(1, (count, patches))[:, -1]
        width = x.shape[-1] - self.proprio
        return torch.cat([self.predictor_proj(x[..., :width]), x[..., width:]], dim=-1)


class _Block(nn.Module):
    """A block of attention and perceptron, each with a shift, a scale and a gate computed from the frame's action."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, done: Tensor, mask: Tensor | None) -> Tensor:
        each = self.adaLN_modulation(done).repeat_interleave(x.shape[1] // done.shape[1], dim=1)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = each.chunk(6, dim=-1)
        x = x + gate_1 * self._attention(self.norm1(x) * (1 + scale_1) + shift_1, mask)
        inner = functional.gelu(self.mlp["fc1"](self.norm2(x) * (1 + scale_2) + shift_2))
        return x + gate_2 * self.mlp["fc2"](inner)

    def _attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self.attn["qkv"](x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = rotated(query, self.side), rotated(key, self.side)
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.attn["proj"](out.transpose(1, 2).flatten(2))


def rotated(x: Float[Tensor, "n heads tokens d"], side: int) -> Float[Tensor, "n heads tokens d"]:
    """Apply rotary positions: one third of a head for the frame, one for the row, one for the column.

    Coordinates that are left over when a head is divided by three are not rotated.

        (x_2i, x_2i+1)  ->  x cos f + (-x_2i+1, x_2i) sin f,     f_j = position / 10000^(2 (j mod D/2) / D)

    The two coordinates of a pair have different angles, since pairs are neighbours and j counts within each half of a
    third. The map is therefore not exactly a rotation, but the checkpoints were trained with it.
    """
    token = torch.arange(x.shape[2], device=x.device)
    places = (token // (side * side), token % (side * side) // side, token % side)
    third = 2 * (x.shape[-1] // 3 // 2)
    half = torch.arange(third // 2, dtype=x.dtype, device=x.device)
    speed = 10000.0 ** -(half / (third / 2))
    parts = list(x.split([third, third, third, x.shape[-1] - 3 * third], dim=-1))
    for axis, place in enumerate(places):
        angle = (place[:, None] * speed).repeat(1, 2)
        even, odd = parts[axis].unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([-odd, even], dim=-1).flatten(-2)
        parts[axis] = parts[axis] * angle.cos() + turned * angle.sin()
    return torch.cat(parts, dim=-1)


def modulated_from(
    tensors: Mapping[str, Tensor], origin: str, *, side: int, heads: int, causal: bool
) -> ModulatedTransformer:
    """Build the predictor from its weights, whose shapes give its sizes.

    Args:
        tensors: the ``state_dict``.
        origin: where the weights come from, for errors.
        side: side of a picture, in patches.
        heads: number of attention heads.
        causal: whether a frame attends only to itself and to earlier frames.

    Raises:
        GraspPlannerError: the weights do not fit together, or they do not fit the number of heads.
    """
    embed, action = tensors.get("predictor_embed.weight"), tensors.get("action_encoder.weight")
    if embed is None or action is None or embed.ndim != 2 or action.ndim != 2:
        raise GraspPlannerError(f"{origin} does not hold the AdaLN predictor; it has {sorted(tensors)[:5]}")
    width, visual = embed.shape
    total, block = action.shape
    if total % heads or total < width:
        raise GraspPlannerError(f"{origin}: a width of {total} does not fit {heads} heads and {width} numbers a patch")
    model = ModulatedTransformer(
        side=side,
        visual=visual,
        proprio=total - width,
        action=block,
        width=width,
        depth=len({name.split(".")[1] for name in tensors if name.startswith("predictor_blocks.")}),
        heads=heads,
        causal=causal,
    )
    fill(model, tensors, f"{origin} does not hold the AdaLN predictor")
    return model
