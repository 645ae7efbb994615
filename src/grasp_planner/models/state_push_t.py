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
    """The latent [pusher x, y, block x, y, cos theta, sin theta, pusher vx, vy] and one step of it.

    One unit of the latent is 57.3 px of either position, or (for small angles) one radian of the block: since Push-T
    counts 20 px and 20 degrees as success, squared distance weighs them as the task does. Velocities are in units
    of 100 px/s; a goal gives them the weight 0.

    The pusher is a kinematic body under PD control: nothing stops it, so its path is an exactly linear function of
    its velocity and the actions. That matrix is solved from the data. The block moves only while it is touched. Its
    motion is predicted in its own frame, from the pusher's path and velocity seen from there (what was learned of a
    push then holds wherever the block lies and points), and from the pose of the block (for the walls):

        (dx, dy, dtheta) = sigmoid(g) * m,    (m, g) = MLP(path - block, velocity in the block's frame; block's pose)

    Args:
        state_size: must be 7: [pusher x, y, block x, y, theta, pusher vx, vy].
        action_size: 2 k numbers, the (normalised) actions of the k environment steps of one step.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: see ``mlp.waves``, of the pusher's positions before and after the step, seen from the block.
    """

    pusher: Tensor

    def __init__(self, state_size: int, action_size: int, width: int, depth: int, octaves: int) -> None:
        super().__init__()
        if state_size != 7 or action_size % 2:
            raise GraspPlannerError(
                "features 'push_t' need state_size 7 and an even number of action coordinates, "
                f"got {state_size} and {action_size}"
            )
        self.latent_size = 8
        self.action_size = action_size
        self.scale = (1.0,) * 8
        self.goal_weights = (1.0,) * 6 + (0.0, 0.0)
        points = action_size // 2  # positions of the pusher after each environment step
        self.octaves = octaves
        self.network = MLP(2 * (points + 2) + 4 + 8 * octaves, 4, width, depth)
        self.register_buffer("pusher", torch.zeros(2 + action_size + 1, 2 * points + 2))

    def encode(self, state: Float[Tensor, "*batch 7"]) -> Float[Tensor, "*batch 8"]:
        """The latent of a state."""
        angle = state[..., 4:5]
        positions = (state[..., :4] - CENTRE) / LENGTH
        return torch.cat([positions, angle.cos(), angle.sin(), state[..., 5:] / SPEED], dim=-1)

    def decode(self, latent: Float[Tensor, "*batch 8"]) -> Float[Tensor, "*batch 7"]:
        """The state of a latent, theta in [0, 2 pi)."""
        angle = torch.atan2(latent[..., 5:6], latent[..., 4:5]) % (2 * math.pi)
        return torch.cat([latent[..., :4] * LENGTH + CENTRE, angle, latent[..., 6:] * SPEED], dim=-1)

    def step(self, latent: Float[Tensor, "n 8"], action: Float[Tensor, "n a"]) -> Float[Tensor, "n 8"]:
        """The latent one step later."""
        position, block, heading, velocity = latent.split(2, dim=-1)
        # Planners hold virtual states off the unit circle, even near its middle, where dividing would blow up.
        heading = heading * heading.square().sum(-1, keepdim=True).clamp(min=0.01).rsqrt()
        cos, sin = heading.unsqueeze(-1).unbind(-2)

        moved = torch.cat([velocity, action], dim=-1) @ self.pusher[:-1] + self.pusher[-1]
        moved, next_velocity = moved[..., :-2].unflatten(-1, (-1, 2)), moved[..., -2:]
        offset = position - block
        seen = torch.cat([offset.unsqueeze(-2), offset.unsqueeze(-2) + moved, velocity.unsqueeze(-2)], dim=-2)
        x, y = seen.unbind(-1)
        x, y = cos * x + sin * y, cos * y - sin * x  # [before, after each environment step, velocity]
        ends = torch.cat([x[..., [0, -2]], y[..., [0, -2]]], dim=-1)
        features = [x, y, 0.5 * block, heading, waves(ends, self.octaves)]
        motion, gate = self.network(torch.cat(features, dim=-1)).split((3, 1), dim=-1)
        forward, left, turn = (motion * gate.sigmoid()).split(1, dim=-1)

        return torch.cat(
            [
                position + moved[..., -1, :],
                block + torch.cat([cos * forward - sin * left, sin * forward + cos * left], dim=-1),
                cos * turn.cos() - sin * turn.sin(),
                sin * turn.cos() + cos * turn.sin(),
                next_velocity,
            ],
            dim=-1,
        )

    @torch.no_grad()
    def fit(self, states: Float[Tensor, "n k_plus_1 7"], actions: Float[Tensor, "n a"]) -> None:
        """Solve for the pusher's matrix.

        Args:
            states: before each step and after each of its k environment steps, in the environment's units.
            actions: (n, 2 k) the normalised actions between them.
        """
        latent = self.encode(states.double())
        velocity = latent[:, 0, 6:]
        inputs = torch.cat([velocity, actions.double(), torch.ones_like(velocity[:, :1])], dim=-1)
        path = (latent[:, 1:, :2] - latent[:, :1, :2]).flatten(1)
        self.pusher.copy_(least_squares(inputs, torch.cat([path, latent[:, -1, 6:]], dim=-1)))
