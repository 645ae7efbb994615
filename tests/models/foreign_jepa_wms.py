"""Checkpoints in the format of JEPA-WMs with random weights, and an independent rollout as a reference."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import torch
from foreign_dino_wm import Eyes, ViTPredictor
from torch import Tensor, nn

GRID, VISUAL, SIDE = 2, 12, 28
WIDTH, HEADS = 32, 4  # of the AdaLN predictor, proprioception included; 6 of the 8 numbers of a head are rotated
PROPRIO = {"AdaLN": 8, "dino_wm": 4}

SETTINGS = """
folder: ${{JEPAWM_LOGS}}/x
model_kwargs:
  checkpoint: jepa-latest.pth.tar
  pretrain_kwargs:
    grid_size: {grid}
    tubelet_size_enc: 1
    action_conditioning: {conditioning}
    proprio_encoding: {encoding}
    num_frames_pred: 4
    visual_encoder: {{enc_type: dino, enc_version: dinov2_vits14, embed_dim: 12}}
    action_encoder: {{action_tokens: 1, action_emb_dim: 5, act_mlp: false, action_encoder_inpred: {inside}}}
    proprio_encoder: {{proprio_tokens: 0, proprio_emb_dim: {proprio}, prop_mlp: false, proprio_encoder_inpred: false}}
    predictor: {{pred_type: {kind}, pred_num_heads: {heads}, pred_depth: 2, use_SiLU: false, use_rope: true}}
    wm_encoding: {{batchify_video: true, dup_image: false, normalize_reps: false}}
    attn: {{local_window_time: 3, local_window_h: -1, local_window_w: -1}}
  data:
    datasets: [Wall]
    img_size: {side}
    custom: {{frameskip: 5, action_skip: 1, state_skip: 1, normalize_action: true}}
  data_aug:
    normalize: [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
  wrapper_kwargs: {{ctxt_window: 2}}
"""


class Published:
    """A model of JEPA-WMs with random weights: its files and its rollout."""

    def __init__(self, kind="AdaLN", *, proprio=True, seed=0):
        self.kind, self.q = kind, PROPRIO[kind] if proprio else 0
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder = Eyes(VISUAL).eval()
            self.proprio = {"patch_embed.weight": torch.randn(self.q, 2, 1), "patch_embed.bias": torch.randn(self.q)}
            self.action = {"patch_embed.weight": 0.3 * torch.randn(5, 10, 1), "patch_embed.bias": torch.randn(5)}
            if kind == "AdaLN":
                self.weights = adaln_weights(self.q)
            else:
                width = VISUAL + self.q + 5
                self.vit = ViTPredictor(num_patches=GRID**2, num_frames=4, dim=width).eval()
                self.weights = dict(self.vit.state_dict())

    @property
    def settings(self) -> str:
        return SETTINGS.format(
            grid=GRID,
            kind=self.kind,
            side=SIDE,
            heads=HEADS if self.kind == "AdaLN" else 2,
            proprio=self.q,
            encoding="feature" if self.q else "none",
            conditioning="token" if self.kind == "AdaLN" else "feature",
            inside=str(self.kind == "AdaLN").lower(),
        )

    def save(self, folder: Path, **more) -> tuple[Path, Path]:
        """Write the checkpoint, with ``module.`` before every name, and its YAML file."""
        folder.mkdir(parents=True)
        (folder / "wall.yaml").write_text(self.settings)
        weights = dict(self.weights)
        if self.kind == "dino_wm":
            for layer in range(2):  # a buffer in their code
                weights[f"transformer.layers.{layer}.0.bias"] = torch.ones(1, 1, 16, 16)
        content = {
            "predictor": {f"module.{name}": value for name, value in weights.items()},
            "action_encoder": None if self.kind == "AdaLN" else {f"module.{k}": v for k, v in self.action.items()},
            "proprio_encoder": {f"module.{k}": v for k, v in self.proprio.items()} if self.q else None,
            "opt": torch.optim.AdamW([nn.Parameter(torch.zeros(3))]).state_dict(),
            "scaler": None,
            "epoch": 50,
            "loss": numpy.float64(0.1),
        }
        torch.save({**content, **more}, folder / "wall.pth.tar")
        return folder / "wall.pth.tar", folder / "wall.yaml"

    def rollout(self, pictures: Tensor, proprio: Tensor | None, actions: Tensor) -> Tensor:
        """Roll out frames (b, n + t, patches, visual + proprio) from n frames and n - 1 + t actions; windows of two."""
        b, n = pictures.shape[:2]
        frames = self.encoder(pictures.flatten(0, 1)).unflatten(0, (b, n))
        if self.q:
            embedded = proprio @ self.proprio["patch_embed.weight"][..., 0].mT + self.proprio["patch_embed.bias"]
            frames = torch.cat([frames, embedded[:, :, None].expand(-1, -1, GRID**2, -1)], dim=-1)
        for t in range(actions.shape[1] - n + 1):
            first = max(0, n + t - 2)
            after = self.predict(frames[:, first:], actions[:, first : n + t])
            frames = torch.cat([frames, after[:, None]], dim=1)
        return frames

    def predict(self, frames: Tensor, actions: Tensor) -> Tensor:
        if self.kind == "AdaLN":
            return torch.stack([adaln(self.weights, f, a, self.q) for f, a in zip(frames, actions)])
        done = actions @ self.action["patch_embed.weight"][..., 0].mT + self.action["patch_embed.bias"]
        x = torch.cat([frames, done[:, :, None].expand(-1, -1, GRID**2, -1)], dim=-1)
        return self.vit(x.flatten(1, 2))[:, -(GRID**2) :, : frames.shape[-1]]


def adaln_weights(q: int) -> dict[str, Tensor]:
    shapes = {
        "predictor_embed.weight": (WIDTH - q, VISUAL),
        "predictor_embed.bias": (WIDTH - q,),
        "action_encoder.weight": (WIDTH, 10),
        "action_encoder.bias": (WIDTH,),
        "predictor_norm.weight": (WIDTH,),
        "predictor_norm.bias": (WIDTH,),
        "predictor_proj.weight": (VISUAL, WIDTH - q),
        "predictor_proj.bias": (VISUAL,),
    }
    block = {
        "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
        "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.qkv.bias": (3 * WIDTH,),
        "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
        "mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,),
        "mlp.fc2.weight": (WIDTH, 4 * WIDTH), "mlp.fc2.bias": (WIDTH,),
        "adaLN_modulation.1.weight": (6 * WIDTH, WIDTH), "adaLN_modulation.1.bias": (6 * WIDTH,),
    }  # fmt: skip
    for layer in range(2):
        shapes |= {f"predictor_blocks.{layer}.{name}": shape for name, shape in block.items()}
    return {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}


def adaln(w: dict[str, Tensor], frames: Tensor, actions: Tensor, q: int) -> Tensor:
    """Predict one window (k, patches, visual + q), token by token."""
    places = [(t, row, column) for t in range(len(frames)) for row in range(GRID) for column in range(GRID)]
    tokens = []
    for t, row, column in places:
        patch = frames[t, row * GRID + column]
        embedded = w["predictor_embed.weight"] @ patch[:VISUAL] + w["predictor_embed.bias"]
        tokens.append(torch.cat([embedded, patch[VISUAL:]]))
    done = [w["action_encoder.weight"] @ action + w["action_encoder.bias"] for action in actions]
    for layer in range(2):
        own = {
            name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"predictor_blocks.{layer}.")
        }
        tokens = block(own, tokens, places, done)
    out = []
    for token in tokens[-(GRID**2) :]:
        token = norm(token) * w["predictor_norm.weight"] + w["predictor_norm.bias"]
        visual = w["predictor_proj.weight"] @ token[: WIDTH - q] + w["predictor_proj.bias"]
        out.append(torch.cat([visual, token[WIDTH - q :]]))
    return torch.stack(out)


def norm(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-6).sqrt()


def block(w, tokens, places, done):
    chunks = [
        (w["adaLN_modulation.1.weight"] @ (done[t] * torch.sigmoid(done[t])) + w["adaLN_modulation.1.bias"]).chunk(6)
        for t, _, _ in places
    ]
    queries, keys, values = [], [], []
    for token, place, (shift, scale, *_) in zip(tokens, places, chunks):
        x = (norm(token) * w["norm1.weight"] + w["norm1.bias"]) * (1 + scale) + shift
        heads = (w["attn.qkv.weight"] @ x + w["attn.qkv.bias"]).reshape(3, HEADS, -1)
        queries.append(torch.stack([turned(head, place) for head in heads[0]]))
        keys.append(torch.stack([turned(head, place) for head in heads[1]]))
        values.append(heads[2])
    after = []
    for i, (token, place, chunk) in enumerate(zip(tokens, places, chunks)):
        _, _, gate, shift, scale, gate_2 = chunk
        read = [j for j, other in enumerate(places) if other[0] <= place[0]]
        heads = []
        for h in range(HEADS):
            scores = torch.stack([queries[i][h] @ keys[j][h] for j in read]) / math.sqrt(WIDTH // HEADS)
            heads.append(sum(p * values[j][h] for p, j in zip(scores.softmax(0), read)))
        x = token + gate * (w["attn.proj.weight"] @ torch.cat(heads) + w["attn.proj.bias"])
        y = (norm(x) * w["norm2.weight"] + w["norm2.bias"]) * (1 + scale) + shift
        y = nn.functional.gelu(w["mlp.fc1.weight"] @ y + w["mlp.fc1.bias"])
        after.append(x + gate_2 * (w["mlp.fc2.weight"] @ y + w["mlp.fc2.bias"]))
    return after


def turned(head: Tensor, place: tuple[int, int, int]) -> Tensor:
    """Rotate a third of a head for each of time, row and column, as in the published code.

    Pairs are neighbours, and the angles run twice through each third."""
    third = 2 * (len(head) // 3 // 2)
    out = head.clone()
    for axis, position in enumerate(place):
        for j in range(third):
            angle = position / 10000 ** ((j % (third // 2)) / (third / 2))
            at = axis * third + j
            partner = -head[at + 1] if j % 2 == 0 else head[at - 1]
            out[at] = head[at] * math.cos(angle) + partner * math.sin(angle)
    return out
