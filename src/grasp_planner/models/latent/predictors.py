"""Predictors of the next latent: residual networks, keypoints that move as a rigid body; and the choice among all."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.latent.config import KEYPOINT_UNIT, LatentModelConfig
from grasp_planner.models.latent.drift import Drift
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.latent.patch_predictor import FramePredictor, TokenPredictor
from grasp_planner.models.latent.transformers import Modulated
from grasp_planner.models.mlp import MLP, Waves

EMBEDDING = 32  # numbers in the embedding of an action block
FEELERS = 8
NEAR = 0.25  # distance from the picture's edge at which a feeler senses it
UNITS = 4.0  # half a picture in units of a predictor's inputs; a unit is an eighth of the picture's side


class Mlp(nn.Module):
    """A residual network that reads the last h latents and actions.

        z' = z + f(z_{t-h+1..t}, e(a_{t-h+1}), .., e(a_t)),    q' = A q + B u + c + (part of f for q)

    e is an embedding of an action block. With ``substeps = frameskip`` the network is evaluated once per environment
    action instead, and reads the action itself.
    """

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        self.shortest = config.context
        self.latent, self.substeps = config.latent, config.substeps
        inputs = config.action_size * config.frameskip // config.substeps
        self.drift = Drift(config.proprio_size, inputs)
        self.unit = KEYPOINT_UNIT if config.encoder == "keypoints" else 1.0
        embedded = EMBEDDING if config.substeps == 1 else inputs
        self.embedding: nn.Module = nn.Identity()
        if config.substeps == 1:
            self.embedding = nn.Sequential(nn.Linear(inputs, 64), nn.SiLU(), nn.Linear(64, EMBEDDING))
        self.waves = Waves(config.size, config.octaves)
        seen = config.context * (config.size + embedded) + self.waves.outputs
        self.network = MLP(seen, config.size, config.width, config.depth)

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n 1 s"]:
        """Predict the latents after the last frame."""
        if self.substeps == 1:
            now = states[:, -1]
            known = torch.cat([(states / self.unit).flatten(1), self.embedding(actions).flatten(1)], dim=-1)
            return self._moved(now, known, actions[:, -1])[:, None]
        now = states[:, -1]
        for action in actions[:, -1].chunk(self.substeps, dim=-1):
            now = self._moved(now, torch.cat([now / self.unit, action], dim=-1), action)
        return now[:, None]

    def _moved(self, now: Tensor, known: Tensor, action: Tensor) -> Tensor:
        if self.waves.outputs:
            known = torch.cat([known, self.waves(now / self.unit)], dim=-1)
        visual, proprio = now.split((self.latent, now.shape[-1] - self.latent), dim=-1)
        return torch.cat([visual, self.drift(proprio, action)], dim=-1) + self.unit * self.network(known)


class Rigid(nn.Module):
    """Keypoints that move as one rigid body, pushed by a pusher with linear dynamics, as in pictures of Push-T.

    The pusher's proprioception (x, y, vx, vy) follows ``Drift``. The motion of the body is predicted in the body's own
    frame, so that a learned effect of a push applies at every position and orientation. With points of the plane as
    complex numbers, keypoints p_k, learned complex weights w_k, pusher q and learned points ("feelers") f_j:

        c = mean p_k,   h = sum w_k (p_k - c) / |..|
        r_j = c + h f_j - clamp(c + h f_j)                          how close feelers are to the picture's edge
        d, turn = sigmoid(g) * m,    (m, g) = MLP((q - c) / h, (q' - c) / h, v' / h, r_j / h)
        p_k' = c + h d + (p_k - c) exp(i turn)
    """

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        points = config.latent // 2
        self.shortest = config.context
        self.latent, self.substeps = config.latent, config.substeps
        self.drift = Drift(config.proprio_size, config.action_size)
        turns = 2 * torch.pi / points * torch.arange(points)
        self.heading = nn.Parameter(torch.stack([turns.cos(), turns.sin()], dim=-1) / points)
        angles = 2 * torch.pi / FEELERS * torch.arange(FEELERS)
        self.feelers = nn.Parameter(torch.stack([angles.cos(), angles.sin()], dim=-1) / UNITS)
        self.waves = Waves(4, config.octaves)
        self.network = MLP(2 * (3 + FEELERS) + self.waves.outputs, 4, config.width, config.depth)

    def forward(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n 1 s"]:
        """Predict the latents after the last frame."""
        points, proprio = states[:, -1].split((self.latent, states.shape[-1] - self.latent), dim=-1)
        points = _complex(points.unflatten(-1, (-1, 2)))
        feelers, weights = _complex(self.feelers), _complex(self.heading)
        centre = points.mean(-1, keepdim=True)
        arms = points - centre
        heading = (arms * weights).sum(-1, keepdim=True)
        heading = heading / heading.abs().clamp(min=0.02)
        turned = torch.ones_like(heading)
        room = 1.0 - NEAR
        for action in actions[:, -1].chunk(self.substeps, dim=-1):
            after = self.drift(proprio, action).to(states)  # there are no complex numbers in bfloat16
            pusher = _complex(torch.stack([proprio[:, :2], after[:, :2], after[:, 2:]], dim=1))
            pusher = torch.cat([pusher[:, :2] - centre, pusher[:, 2:]], dim=-1)
            places = torch.view_as_real(centre + heading * feelers)
            touched = torch.view_as_complex(places - places.clamp(-room, room))
            felt = torch.view_as_real(torch.cat([pusher, touched], dim=-1) * heading.conj()).flatten(1) * UNITS
            outputs = self.network(torch.cat([felt, self.waves(felt[:, :4])], dim=-1)).to(states)
            motion, gate = outputs.split((3, 1), dim=-1)
            forward, left, turn = (motion * gate.sigmoid()).split(1, dim=-1)
            centre = centre + heading * torch.complex(forward, left) / UNITS
            turning = torch.complex(turn.cos(), turn.sin())
            heading, turned, proprio = heading * turning, turned * turning, after
        moved = torch.view_as_real(centre + arms * turned).flatten(1)
        return torch.cat([moved, proprio], dim=-1)[:, None]


Predictor = Mlp | Rigid | Modulated | TokenPredictor | FramePredictor
"""A module that maps k latents (n, k, s) and actions (n, k, a) to the latents after the frames ``shortest`` .. k.

k is at most the context h, and at least ``shortest``: h, or 1 for predictors that also read shorter windows. The result
is (n, k + 1 - shortest, s).
"""


def build_predictor(config: LatentModelConfig | PatchModelConfig) -> Predictor:
    """Build the predictor of a configuration."""
    if isinstance(config, PatchModelConfig):
        return FramePredictor(config) if config.predictor == "perceptron" else TokenPredictor(config)
    return {"mlp": Mlp, "rigid": Rigid, "modulated": Modulated}[config.predictor](config)


def _complex(pairs: Float[Tensor, "*batch 2"]) -> Tensor:
    """Convert pairs (x, y) to complex numbers x + i y."""
    return torch.view_as_complex(pairs.contiguous())
