"""Stand-ins with the exact shapes of stable-worldmodel's models, objectives and evaluator, with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import nn

BLOCK, SIDE, WIDTH = 6, 8, 10  # numbers in an action block (3 actions of 2), pixels, numbers in a latent


class Backbone(nn.Module):
    """A stand-in for a vision transformer of ``transformers``, whose first token is a summary token."""

    def __init__(self, width=WIDTH, tokens=4):
        super().__init__()
        self.look, self.tokens = nn.Linear(3 * SIDE * SIDE, width * (tokens + 1)), tokens

    def forward(self, pixels, interpolate_pos_encoding=False):
        return SimpleNamespace(last_hidden_state=self.look(pixels.flatten(1)).unflatten(1, (self.tokens + 1, -1)))


class Predictor(nn.Module):
    """A causal predictor over a window of embeddings and embedded actions, with positions and dropout."""

    def __init__(self, num_frames=3, input_dim=WIDTH):
        super().__init__()
        self.num_frames, self.input_dim = num_frames, input_dim
        self.pos_embedding = nn.Parameter(torch.randn(1, num_frames, input_dim))
        self.mix, self.act, self.dropout = nn.Linear(input_dim, input_dim), nn.Linear(WIDTH, input_dim), nn.Dropout(0.1)

    def forward(self, x, c):
        x = torch.tanh(self.dropout(self.mix(x + self.pos_embedding[:, : x.shape[1]]) + self.act(c)))
        count = torch.arange(1, x.shape[1] + 1)[:, None]
        return x + x.cumsum(1) / count


class LeWM(nn.Module):
    def __init__(self, frames=3):
        super().__init__()
        self.encoder, self.predictor = Backbone(), Predictor(frames)
        self.action_encoder = nn.Sequential(nn.Linear(BLOCK, WIDTH), nn.SiLU())
        self.projector = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH))
        self.pred_proj = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH))

    def encode(self, info):
        pixels = info["pixels"].float()
        output = self.encoder(pixels.flatten(0, 1), interpolate_pos_encoding=True)
        info["emb"] = self.projector(output.last_hidden_state[:, 0]).unflatten(0, pixels.shape[:2])
        if "action" in info:
            info["act_emb"] = self.action_encoder(info["action"])
        return info

    def predict(self, emb, act_emb):
        return self.pred_proj(self.predictor(emb, act_emb).flatten(0, 1)).unflatten(0, emb.shape[:2])

    def rollout(self, info, action_sequence):
        past = info.get("action_history", action_sequence[:, :, :0])
        pixels = info["pixels"][:, 0]
        emb = list(self.encode({"pixels": pixels})["emb"].repeat_interleave(action_sequence.shape[1], 0).unbind(1))
        act = self.action_encoder(torch.cat([past, action_sequence], dim=2).flatten(0, 1))
        start = len(emb)
        for t in range(action_sequence.shape[2]):
            low = max(0, start + t - self.predictor.num_frames)
            emb.append(self.predict(torch.stack(emb[low:], 1), act[:, low : start + t])[:, -1])
        info["predicted_emb"] = torch.stack(emb, 1).unflatten(0, action_sequence.shape[:2])
        return info


class PLDM(LeWM):
    pass


class Embedder(nn.Module):
    def __init__(self, in_chans, emb_dim):
        super().__init__()
        self.emb_dim, self.net = emb_dim, nn.Linear(in_chans, emb_dim)

    def forward(self, x):
        return self.net(x)


class CausalPredictor(nn.Module):
    def __init__(self, num_patches, num_frames, dim):
        super().__init__()
        self.num_patches, self.num_frames = num_patches, num_frames
        self.pos_embedding = nn.Parameter(torch.randn(1, num_frames * num_patches, dim))
        self.mix, self.dropout = nn.Linear(dim, dim), nn.Dropout(0.1)

    def forward(self, x):
        x = torch.tanh(self.mix(x + self.pos_embedding[:, : x.shape[1]])).unflatten(1, (-1, self.num_patches))
        count = torch.arange(1, x.shape[1] + 1)[:, None, None]
        return self.dropout(x + x.cumsum(1) / count + x.mean(2, keepdim=True)).flatten(1, 2)


class PreJEPA(nn.Module):
    def __init__(self, order=("proprio", "action"), history_size=3):
        super().__init__()
        sizes = {"proprio": (4, 3), "action": (BLOCK, 5), "extra": (2, 2)}
        self.backbone, self.history_size = Backbone(), history_size
        self.extra_encoders = nn.ModuleDict({name: Embedder(*sizes[name]) for name in order})
        self.predictor = CausalPredictor(4, history_size, WIDTH + sum(sizes[name][1] for name in order))

    def encode(self, info, pixels_key="pixels", emb_keys=None, prefix=None, target="emb"):
        assert target not in info
        pixels = info[pixels_key].float()
        tokens = self.backbone(pixels.flatten(0, 1), interpolate_pos_encoding=True).last_hidden_state[:, 1:].detach()
        emb = tokens.unflatten(0, pixels.shape[:2])
        for key in self.extra_encoders if emb_keys is None else emb_keys:
            extra = self.extra_encoders[key](info[f"{prefix or ''}{key}"].float())
            emb = torch.cat([emb, extra[:, :, None].expand(-1, -1, emb.shape[2], -1)], dim=3)
        info[target] = emb
        return info

    def predict(self, embedding):
        return self.predictor(embedding.flatten(1, 2)).unflatten(1, embedding.shape[1:3])

    def rollout_by_hand(self, info, actions):
        """Roll out embeddings that contain the actions, (b, n + t, patches, width), with plain loops."""
        n = info["pixels"].shape[1]
        z = list(self.encode({**info, "action": actions[:, :n]})["emb"].unbind(1))
        place = WIDTH
        for key, encoder in self.extra_encoders.items():
            if key == "action":
                break
            place += encoder.emb_dim
        for t in range(n, actions.shape[1] + 1):
            after = self.predict(torch.stack(z[-self.history_size :], 1))[:, -1].clone()
            if t < actions.shape[1]:
                after[..., place : place + 5] = self.extra_encoders["action"](actions[:, t])[:, None]
            z.append(after)
        return torch.stack(z, 1), place


class TDMPC2(nn.Module):
    def __init__(self, pixels=False):
        super().__init__()
        self.use_pixels, self.latent_dim = pixels, 16 if pixels else 8
        self.pixel_encoder = nn.Linear(3 * SIDE * SIDE, 8) if pixels else None
        self.extra_encoders = nn.ModuleDict({"state": nn.Linear(4, 8)})
        self.dynamics = nn.Sequential(nn.Linear(self.latent_dim + BLOCK, self.latent_dim), nn.Softmax(dim=-1))
        self.reward = nn.Linear(self.latent_dim + BLOCK, 5)

    def encode(self, obs):
        parts = [self.pixel_encoder(obs["pixels"].float().flatten(-3))] if self.use_pixels else []
        parts += [encoder(obs[key].float()) for key, encoder in self.extra_encoders.items()]
        return torch.cat(parts, dim=-1).softmax(-1)

    def forward(self, z, action):
        both = torch.cat([z, action], dim=-1)
        return self.dynamics(both), self.reward(both)

    def get_cost(self, info_dict, action_candidates):
        raise AssertionError("only their own solvers call this")


class GoalMSE(nn.Module):
    def __init__(self, pred_key="predicted_emb", goal_key="goal_emb", reduction="sum"):
        super().__init__()
        self.pred_key, self.goal_key, self.reduction = pred_key, goal_key, reduction


class ControlPenalty(nn.Module):
    pass


class WeightedSum(nn.Module):
    def __init__(self, terms):
        super().__init__()
        self.weights, self.objectives = [weight for weight, _ in terms], nn.ModuleList(term for _, term in terms)


class ShootingCostEvaluator(nn.Module):
    def __init__(self, model, objective):
        super().__init__()
        self.model, self.objective = model, objective


@dataclass(frozen=True)
class PlanConfig:
    horizon: int
    receding_horizon: int
    history_len: int = 1
    action_block: int = 3
    warm_start: bool = True


class Recorder:
    """A callback like those of stable-worldmodel: a history of batches, each a list of steps."""

    def __init__(self, name="best"):
        self.output_key, self.history, self._current, self.seen = name, [], [], []

    def reset(self):
        self.history, self._current = [], []

    def start_batch(self):
        self._current = []

    def end_solve(self):
        self.history.append(self._current)

    def __call__(self, **state):
        self.seen.append(state)
        self._current.append(float(state["costs"].min(dim=1).values.mean()))


class Batched:
    """A batched box of actions, as in gymnasium's vector environments."""

    def __init__(self, n, size=2, low=-1.0, high=1.0, dtype="float32"):
        import numpy

        self.shape, self.dtype = (n, size), numpy.dtype(dtype)
        self.low, self.high = (numpy.full(self.shape, value, self.dtype) for value in (low, high))


class Settings(SimpleNamespace):
    """A configuration that is read by attribute and with ``get``, as OmegaConf's."""

    def get(self, name, default):
        return getattr(self, name, default)


class TDMPC2WithHeads(TDMPC2):
    """TD-MPC2 with a reward, a policy and an ensemble of Q functions, and its own cost of action sequences."""

    def __init__(self, ensemble=3):
        super().__init__()
        self.cfg = Settings(wm=Settings(num_bins=5, vmin=-2.0, vmax=2.0))
        self.pi = nn.Sequential(nn.Linear(self.latent_dim, 2 * BLOCK), nn.Dropout(0.1))
        self.qs = nn.ModuleList(nn.Linear(self.latent_dim + BLOCK, 5) for _ in range(ensemble))

    def number(self, logits):
        wm = self.cfg.wm
        expected = (logits.softmax(-1) * torch.linspace(wm.vmin, wm.vmax, wm.num_bins)).sum(-1)
        return torch.sign(expected) * (torch.exp(torch.abs(expected)) - 1)

    def cost_of(self, z, actions, uncertainty=0.5, discount=0.99):
        """Return minus the return of action sequences (n, t, a) from latents (n, s), with plain loops."""
        total, factor = 0.0, 1.0
        for action in actions.unbind(1):
            total = total + factor * self.number(self.reward(torch.cat([z, action], dim=-1)))
            z, factor = self.dynamics(torch.cat([z, action], dim=-1)), factor * discount
        both = torch.cat([z, torch.tanh(self.pi(z)[:, :BLOCK])], dim=-1)
        values = torch.stack([self.number(q(both)) for q in self.qs])
        mean = values.mean(0)
        return -(total + factor * (mean - uncertainty * mean.abs() * values.std(0)))
