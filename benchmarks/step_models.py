"""Models for timing planner steps, with the sizes of published world models and random weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grasp_planner.models.mlp import MLP
from grasp_planner.models.patches.frame_transformer import FrameTransformer, SlotCore


class StateModel(nn.Module):
    """A residual perceptron on a state of 8 numbers and an action of 2 numbers."""

    context = 1

    def __init__(self, latent: int = 8, action: int = 2, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.latent, self.action = latent, action
        self.net = MLP(latent + action, latent, width, depth)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """(n, 1, s), (n, 1, a) -> (n, s)."""
        return states[:, -1] + self.net(torch.cat([states[:, -1], actions[:, -1]], dim=1))


class _Conditioned(nn.Module):
    """A layer of attention and perceptron whose norms are scaled, shifted and gated by the action (AdaLN-zero)."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.qkv, self.out = nn.Linear(width, 3 * inner, bias=False), nn.Linear(inner, width)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(condition).chunk(6, dim=-1)
        normed = self.norm(x) * (1 + scale_1) + shift_1
        q, k, v = self.qkv(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + gate_1 * self.out(attended.transpose(1, 2).flatten(2))
        return x + gate_2 * self.perceptron(self.norm(x) * (1 + scale_2) + shift_2)


class LatentModel(nn.Module):
    """A predictor of LeWM's size: six conditioned layers over a window of vectors, 10.8 million weights."""

    def __init__(self, context: int, latent: int = 192, action: int = 10) -> None:
        super().__init__()
        self.context, self.latent, self.action = context, latent, action
        self.embed = nn.Linear(action, latent)
        self.positions = nn.Parameter(0.02 * torch.randn(1, context, latent))
        self.layers = nn.ModuleList(_Conditioned(latent, heads=16, head_width=64, hidden=2048) for _ in range(6))
        self.norm = nn.LayerNorm(latent)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """(n, h, s), (n, h, a) -> (n, s)."""
        x, condition = states + self.positions, self.embed(actions)
        for layer in self.layers:
            x = layer(x, condition)
        return self.norm(x[:, -1])


class PatchModel(nn.Module):
    """DINO-WM's predictor on one frame: 196 patches of 394 numbers, and an action embedding of 10 numbers in each."""

    context = 1

    def __init__(self, action: int = 10) -> None:
        super().__init__()
        self.latent, self.action = 196 * 394, action
        transformer = FrameTransformer(frames=1, tokens=196, width=404, depth=6, heads=16, head_width=64, hidden=2048)
        self.core = SlotCore(transformer, nn.Linear(action, 10))

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """(n, 1, s), (n, 1, a) -> (n, s)."""
        return self.core(states.unflatten(-1, (196, 394)), actions).flatten(1)


@dataclass(frozen=True)
class Case:
    """A model and the sizes of the problems for timing."""

    name: str
    batches: tuple[int, ...]
    horizons: tuple[int, ...]
    samples: int
    """Number of candidates of the sampler that is compared with plain rollouts."""

    def model(self) -> nn.Module:
        """Make the model, with the same weights in every run, and without gradients to the weights."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = _MODELS[self.name]()
        return made.eval().requires_grad_(False)


_MODELS = {
    "mlp": StateModel,
    "lewm": lambda: LatentModel(1),
    "lewm-3": lambda: LatentModel(3),
    "dino-wm": PatchModel,
}
CASES = {
    "mlp": Case("mlp", (1, 8, 64), (10, 25, 50, 100, 200), 300),
    "lewm": Case("lewm", (1, 8, 64), (10, 25, 50, 100, 200), 64),
    "lewm-3": Case("lewm-3", (1, 8), (10, 50, 100), 64),
    "dino-wm": Case("dino-wm", (1,), (10, 25), 2),
}
