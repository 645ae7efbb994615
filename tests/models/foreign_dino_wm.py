"""Checkpoints in DINO-WM's format with random weights, and an independent rollout as a reference."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from grasp_planner.models.patches.dinov2 import DinoV2, _Block

SIDE, VISUAL = 32, 12  # 2 x 2 patches
PATCHES = (SIDE // 16) ** 2


class Attention(nn.Module):
    def __init__(self, width, heads, head_width, frames, tokens):
        super().__init__()
        inner = heads * head_width
        self.heads, self.scale = heads, head_width**-0.5
        self.norm = nn.LayerNorm(width)
        self.attend, self.dropout = nn.Softmax(dim=-1), nn.Dropout(0.1)
        self.to_qkv = nn.Linear(width, inner * 3, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, width), nn.Dropout(0.1))
        frame = torch.arange(frames * tokens) // tokens
        self.bias = (frame[:, None] >= frame[None]).float()[
            None, None
        ]  # an attribute and not a buffer; in the published files it is on CUDA

    def forward(self, x):
        length = x.shape[1]
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        )
        scores = (q @ k.mT * self.scale).masked_fill(self.bias[:, :, :length, :length] == 0, -torch.inf)
        return self.to_out((self.dropout(self.attend(scores)) @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, width),
            nn.Dropout(0.1),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)


class Transformer(nn.Module):
    def __init__(self, width, depth, heads, head_width, hidden, frames, tokens):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, heads, head_width, frames, tokens), FeedForward(width, hidden)])
            for _ in range(depth)
        )

    def forward(self, x):
        for attend, feed in self.layers:
            x = attend(x) + x
            x = feed(x) + x
        return self.norm(x)


class ViTPredictor(nn.Module):
    def __init__(self, *, num_patches, num_frames, dim, depth=2, heads=2, mlp_dim=16, dim_head=8):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, num_frames * num_patches, dim))
        self.dropout = nn.Dropout(0.0)
        self.transformer = Transformer(dim, depth, heads, dim_head, mlp_dim, num_frames, num_patches)
        self.pool = "mean"

    def forward(self, x):
        return self.transformer(self.dropout(x + self.pos_embedding[:, : x.shape[1]]))


class ProprioceptiveEmbedding(nn.Module):
    def __init__(self, in_chans, emb_dim):
        super().__init__()
        self.num_frames, self.tubelet_size, self.in_chans, self.emb_dim = 1, 1, in_chans, emb_dim
        self.patch_embed = nn.Conv1d(in_chans, emb_dim, kernel_size=1, stride=1)

    def forward(self, x):
        return self.patch_embed(x.permute(0, 2, 1)).permute(0, 2, 1)


class DinoV2Encoder(nn.Module):
    """The encoder in the form in which it is pickled if it was trained."""

    def __init__(self, base_model):
        super().__init__()
        self.name, self.feature_key, self.emb_dim = "dinov2_vits14", "x_norm_patchtokens", 64
        self.base_model = base_model


class AcceleratedOptimizer:
    """A stand-in for objects that the training script saves together with the weights."""

    def __init__(self, parameters):
        self.optimizer = torch.optim.AdamW(parameters)
        self.device = torch.device("cpu")


HOMES = {
    "models": (),
    "models.vit": (Attention, FeedForward, Transformer, ViTPredictor),
    "models.proprio": (ProprioceptiveEmbedding,),
    "models.dino": (DinoV2Encoder,),
    "dinov2": (),
    "dinov2.models": (DinoV2, _Block),  # where torch.hub's classes are
    "accelerate": (),
    "accelerate.optimizer": (AcceleratedOptimizer,),
}


@contextmanager
def their_modules() -> Iterator[None]:
    """Put the classes into modules with DINO-WM's names during the block, and remove these modules afterwards."""
    kept = {name: sys.modules.pop(name, None) for name in HOMES}
    homes = {cls: cls.__module__ for classes in HOMES.values() for cls in classes}
    for name, classes in HOMES.items():
        sys.modules[name] = types.ModuleType(name)
        for cls in classes:
            cls.__module__ = name
            setattr(sys.modules[name], cls.__name__, cls)
    try:
        yield
    finally:
        for cls, home in homes.items():
            cls.__module__ = home
        for name, module in kept.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


class Eyes(nn.Module):
    """An encoder with random weights: one token for each 14 x 14 pixels."""

    def __init__(self, width=VISUAL):
        super().__init__()
        self.look = nn.Conv2d(3, width, 14, 14)

    def forward(self, pictures):
        return self.look(pictures).flatten(2).mT


class Published:
    """A DINO-WM with random weights: its parts, its files and its rollout."""

    def __init__(self, *, concat=1, hist=3, repeats=(1, 1), actions=10, proprio=4, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.concat, self.hist, self.repeats = concat, hist, repeats
            slot = VISUAL if concat == 0 else 5
            self.action = ProprioceptiveEmbedding(actions, slot)
            self.proprio = ProprioceptiveEmbedding(proprio, VISUAL if concat == 0 else 4)
            slots = repeats[0] * self.action.emb_dim + repeats[1] * self.proprio.emb_dim
            self.predictor = ViTPredictor(
                num_patches=PATCHES + (2 if concat == 0 else 0), num_frames=hist, dim=VISUAL + concat * slots
            )
            self.encoder = Eyes()
        for part in (self.action, self.proprio, self.predictor, self.encoder):
            part.eval()

    @property
    def settings(self) -> str:
        """The model's part of DINO-WM's ``hydra.yaml``, with a learning rate that YAML 1.1 misreads."""
        return f"""
training: {{epochs: 100, predictor_lr: 5e-4}}
img_size: {SIDE}
frameskip: 5
concat_dim: {self.concat}
normalize_action: true
action_emb_dim: {self.action.emb_dim}
num_action_repeat: {self.repeats[0]}
proprio_emb_dim: {self.proprio.emb_dim}
num_proprio_repeat: {self.repeats[1]}
num_hist: {self.hist}
num_pred: 1
env: {{name: pusht}}
encoder: {{_target_: models.dino.DinoV2Encoder, name: dinov2_vits14, feature_key: x_norm_patchtokens}}
predictor: {{_target_: models.vit.ViTPredictor, depth: 2, heads: 2, mlp_dim: 16}}
model: {{_target_: models.visual_world_model.VWorldModel}}
"""

    def save(self, folder: Path, **more) -> Path:
        """Write ``hydra.yaml`` and ``checkpoints/model_latest.pth``, with ``more`` as further entries."""
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "hydra.yaml").write_text(self.settings)
        optimizer = torch.optim.AdamW(self.predictor.parameters())
        sum(p.sum() for p in self.predictor.parameters()).backward()
        optimizer.step()
        optimizer.zero_grad()
        with their_modules():
            content = {
                "epoch": 3,
                "predictor": self.predictor,
                "predictor_optimizer": AcceleratedOptimizer(self.predictor.parameters()),
                "action_encoder": self.action,
                "proprio_encoder": self.proprio,
            }
            torch.save({**content, **more}, folder / "checkpoints" / "model_latest.pth")
        return folder

    def rollout(self, pictures: Tensor, proprio: Tensor, actions: Tensor) -> Tensor:
        """Roll out frames without actions (b, n + t, tokens, width), from n frames and n - 1 + t actions."""
        b, n = pictures.shape[:2]
        visual = self.encoder(pictures.flatten(0, 1)).unflatten(0, (b, n))
        frames = [self._frame(visual[:, i], self.proprio(proprio)[:, i]) for i in range(n)]
        done = self.action(actions)
        for t in range(actions.shape[1] - n + 1):
            window = [self._with_action(frames[i], done[:, i]) for i in range(max(0, n + t - self.hist), n + t)]
            after = self.predictor(torch.cat(window, dim=1))[:, -window[0].shape[1] :]
            frames.append(after[:, :-1] if self.concat == 0 else after[..., : frames[0].shape[-1]])
        return torch.stack(frames, dim=1)

    def _frame(self, visual: Tensor, proprio: Tensor) -> Tensor:
        if self.concat == 0:
            return torch.cat([visual, proprio[:, None]], dim=1)
        return torch.cat([visual, proprio.repeat(1, self.repeats[1])[:, None].expand(-1, PATCHES, -1)], dim=2)

    def _with_action(self, frame: Tensor, action: Tensor) -> Tensor:
        if self.concat == 0:
            return torch.cat([frame, action[:, None]], dim=1)
        return torch.cat([frame, action.repeat(1, self.repeats[0])[:, None].expand(-1, PATCHES, -1)], dim=2)
