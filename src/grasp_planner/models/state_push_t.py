"""Dynamics of Push-T: the pusher is linear, the block is a network that looks from where the block is."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.errors import GraspPlannerError
from grasp_planner.models.mlp import MLP, waves
from grasp_planner.models.state_plain import least_squares

CENTRE = 255.5  # px, the middle of the walls
LENGTH = 180 / math.pi  # px in one latent unit: 20 px weigh as much as 20 degrees, the two tolerances of success
SPEED = 100.0  # px/s in one latent unit, about the standard deviation of a busy pusher


class PushTDynamics(nn.Module):
    """The latent [pusher x, y, block x, y, cos theta, sin theta, pusher vx, vy] and its path under actions.

    One unit of the latent is 57.3 px of either position, or (for small angles) one radian of the block: since Push-T
    counts 20 px and 20 degrees as success, squared distance weighs them as the task does. Velocities are in units
    of 100 px/s; a goal gives them the weight 0.

    The pusher is a kinematic body under PD control: nothing stops it, so its position and velocity q are an exactly
    linear function of the actions, solved from the data. The block moves only while it is touched. Its motion is
    predicted in its own frame, from the pusher's way and velocity seen from there (what was learned of a push then
    holds wherever the block lies and points), and from the pose of the block (for the walls). With points of the
    plane as complex numbers, p for the pusher, b for the block and h = exp(i theta):

        q' = q A + u B + c
        d, turn = sigmoid(g) * m,    (m, g) = MLP((p - b) / h, (p' - b) / h, v / h, b, h)
        b' = b + h d,    h' = h exp(i turn)

    Args:
        state_size: must be 7: [pusher x, y, block x, y, theta, pusher vx, vy].
        action_size: must be 2, the (normalised) action u of one environment step.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: see ``mlp.waves``, of the pusher's positions before and after the step, seen from the block.
    """

    pusher: Tensor

    def __init__(self, state_size: int, action_size: int, width: int, depth: int, octaves: int) -> None:
        super().__init__()
        if (state_size, action_size) != (7, 2):
            raise GraspPlannerError(
                "features 'push_t' need state_size 7, action_size 2 and substeps equal to frameskip, "
                f"got states of {state_size} and steps of {action_size} action coordinates"
            )
        self.latent_size = 8
        self.scale = (1.0,) * 8
        self.goal_weights = (1.0,) * 6 + (0.0, 0.0)
        self.octaves = octaves
        self.network = MLP(6 + 4 + 8 * octaves, 4, width, depth)
        self.register_buffer("pusher", torch.zeros(7, 4))  # rows: A (4), B (2), c

    def encode(self, state: Float[Tensor, "*batch 7"]) -> Float[Tensor, "*batch 8"]:
        """The latent of a state."""
        angle = state[..., 4:5]
        positions = (state[..., :4] - CENTRE) / LENGTH
        return torch.cat([positions, angle.cos(), angle.sin(), state[..., 5:] / SPEED], dim=-1)

    def decode(self, latent: Float[Tensor, "*batch 8"]) -> Float[Tensor, "*batch 7"]:
        """The state of a latent, theta in [0, 2 pi)."""
        angle = torch.atan2(latent[..., 5:6], latent[..., 4:5]) % (2 * math.pi)
        return torch.cat([latent[..., :4] * LENGTH + CENTRE, angle, latent[..., 6:] * SPEED], dim=-1)

    def path(self, latent: Float[Tensor, "n 8"], actions: Float[Tensor, "n t 2"]) -> Float[Tensor, "n t 8"]:
        """The latents after each action."""
        _, block, heading, _ = _complex(latent.unflatten(-1, (4, 2))).split(1, dim=-1)
        # Planners hold virtual states off the unit circle, even near its middle, where dividing would blow up.
        heading = heading / heading.abs().clamp(min=0.1)

        state = torch.cat([latent[..., :2], latent[..., 6:]], dim=-1)
        pusher = [state]
        for push in (actions @ self.pusher[4:6] + self.pusher[6]).unbind(1):
            state = torch.addmm(push, state, self.pusher[:4])
            pusher.append(state)
        pusher = _complex(torch.stack(pusher, dim=1).unflatten(-1, (2, 2)))
        before, after = pusher[:, :-1], pusher[:, 1:]
        way = torch.cat([before[..., :1], after[..., :1], before[..., 1:]], dim=-1)
        origin = torch.tensor([1.0, 1.0, 0.0], dtype=latent.dtype, device=latent.device)  # velocities have none

        blocks = []
        for points in way.unbind(1):
            seen = torch.view_as_real((points - block * origin) * heading.conj())
            pose = torch.view_as_real(torch.cat([block, heading], dim=-1))
            features = [seen.flatten(1), pose.flatten(1), waves(seen[:, :2].flatten(1), self.octaves)]
            motion = self.network(torch.cat(features, dim=-1))
            motion = motion[:, :3] * motion[:, 3:].sigmoid()
            block = block + heading * torch.complex(motion[:, :1], motion[:, 1:2])
            turn = motion[:, 2:]
            heading = heading * torch.complex(turn.cos(), turn.sin())
            blocks.append(torch.cat([block, heading], dim=-1))
        path = torch.cat([after[..., :1], torch.stack(blocks, dim=1), after[..., 1:]], dim=-1)
        return torch.view_as_real(path).flatten(-2)

    @torch.no_grad()
    def fit(self, states: Float[Tensor, "n 2 7"], actions: Float[Tensor, "n 2"]) -> None:
        """Solve for A, B and c.

        Args:
            states: before and after each step, in the environment's units.
            actions: the normalised actions between them.
        """
        latent = self.encode(states.double())
        before, after = torch.cat([latent[..., :2], latent[..., 6:]], dim=-1).unbind(1)
        inputs = torch.cat([before, actions.double(), torch.ones_like(before[:, :1])], dim=-1)
        self.pusher.copy_(least_squares(inputs, after))


def _complex(pairs: Float[Tensor, "*batch 2"]) -> Tensor:
    """Pairs (x, y) as x + i y."""
    return torch.complex(pairs[..., 0], pairs[..., 1])
