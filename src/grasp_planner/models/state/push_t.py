"""Dynamics of Push-T: linear dynamics of the pusher, and a network in the block's frame for the block."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.mlp import MLP, Network, NewNetwork, Waves
from grasp_planner.models.state.plain import least_squares

CENTRE = 255.5  # px, the middle of the walls
LENGTH = 180 / math.pi  # px in one latent unit, so that the two tolerances of success, 20 px and 20 degrees, are equal
SPEED = 100.0  # px/s in one latent unit, about the standard deviation of a moving pusher's velocity
ROOM = 248.5 / LENGTH  # distance from the middle to the inner side of a wall, in latent units
NEAR = 0.5  # distance from a wall at which a feeler's signal begins, in latent units; more than a step of the block
FEELERS = 8


def push_t_latent(state: Float[Tensor, "*batch 7"]) -> Float[Tensor, "*batch 8"]:
    """Return the latent of a state."""
    angle = state[..., 4:5]
    positions = (state[..., :4] - CENTRE) / LENGTH
    return torch.cat([positions, angle.cos(), angle.sin(), state[..., 5:] / SPEED], dim=-1)


def push_t_state(latent: Float[Tensor, "*batch 8"]) -> Float[Tensor, "*batch 7"]:
    """Return the state of a latent, theta in [0, 2 pi)."""
    angle = torch.atan2(latent[..., 5:6], latent[..., 4:5]) % (2 * math.pi)
    return torch.cat([latent[..., :4] * LENGTH + CENTRE, angle, latent[..., 6:] * SPEED], dim=-1)


class PushTDynamics(nn.Module):
    """Dynamics of the latent [pusher x, y, block x, y, cos theta, sin theta, pusher vx, vy].

    One unit of the latent is 57.3 px of a position, or (for small angles) one radian of the block. Push-T's tolerances
    are 20 px and 20 degrees, so a squared distance weighs positions and angle as the task does. Velocities are in units
    of 100 px/s and have the goal weight 0.

    The pusher is a kinematic body under PD control, and nothing stops it. Hence its position and velocity q are exactly
    linear in the actions; the coefficients are fitted to the data in closed form. The block moves only while the pusher
    touches it. A network predicts the block's motion in the block's frame. Its inputs are the pusher's motion and
    velocity, and the proximity of the walls to eight learned points that are fixed to the block ("feelers"). The
    network therefore gives the same prediction at every position and angle of the block. With points of the plane as
    complex numbers, p for the pusher, b for the block, h = exp(i theta), and f_j for the feelers:

        q' = q A + u B + c
        w_j = b + h f_j - clamp(b + h f_j),    clamped to half a unit inside the walls
        d, turn = sigmoid(g) * m,    (m, g) = MLP((p - b) / h, (p' - b) / h, v / h, w_j / h)
        b' = b + h d,    h' = h exp(i turn)

    In a mixture of experts, the motion (d, turn) is the weighted sum of the motions that the experts predict.

    Args:
        state_size: must be 7: pusher x, y, block x, y, theta, pusher vx, vy.
        action_size: must be 2: the normalised action u of one environment step.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: number of wavelengths of sines and cosines of the pusher's positions before and after the step, in the
            block's frame; see ``mlp.Waves``.
        network: class of the network: ``MLP``, or ``Mixture`` with a number of experts.
    """

    pusher: Tensor
    encode = staticmethod(push_t_latent)
    decode = staticmethod(push_t_state)

    def __init__(
        self, state_size: int, action_size: int, width: int, depth: int, octaves: int, network: NewNetwork = MLP
    ) -> None:
        super().__init__()
        if (state_size, action_size) != (7, 2):
            raise GraspPlannerError(
                "features 'push_t' need state_size 7, action_size 2 and substeps equal to frameskip, "
                f"got states of {state_size} and steps of {action_size} action coordinates"
            )
        self.latent_size = 8
        self.scale = (1.0,) * 8
        self.goal_weights = (1.0,) * 6 + (0.0, 0.0)
        angles = 2 * math.pi / FEELERS * torch.arange(FEELERS)
        self.feelers = nn.Parameter(torch.stack([angles.cos(), angles.sin()], dim=-1))
        self.waves = Waves(4, octaves)
        self.network = network(2 * (3 + FEELERS) + self.waves.outputs, 4, width, depth, switched)
        self.register_buffer("pusher", torch.zeros(7, 4))  # rows: A (4), B (2), c

    def path(
        self, latent: Float[Tensor, "n 8"], actions: Float[Tensor, "n t 2"], network: Network | None = None
    ) -> Float[Tensor, "n t 8"]:
        """Return the latents after each action; ``network`` takes the place of the model's own."""
        network = self.network if network is None else network
        _, block, heading, _ = as_complex(latent.unflatten(-1, (4, 2))).split(1, dim=-1)
        # Headings of virtual states are not on the unit circle. Division by a heading near the origin would give huge
        # results.
        heading = heading / heading.abs().clamp(min=0.1)

        state = torch.cat([latent[..., :2], latent[..., 6:]], dim=-1)
        pusher = [state]
        for push in (actions @ self.pusher[4:6] + self.pusher[6]).unbind(1):
            state = torch.addmm(push, state, self.pusher[:4])
            pusher.append(state)
        pusher = as_complex(torch.stack(pusher, dim=1).unflatten(-1, (2, 2)))
        before, after = pusher[:, :-1], pusher[:, 1:]
        way = torch.cat([before[..., :1], after[..., :1], before[..., 1:]], dim=-1)
        feelers, room = as_complex(self.feelers), ROOM - NEAR

        blocks = []
        for positions, speed in zip(way[..., :2].unbind(1), way[..., 2:].unbind(1)):
            points = torch.view_as_real(block + heading * feelers)
            touched = torch.view_as_complex(points - points.clamp(-room, room))
            felt = torch.cat([positions - block, speed, 2 * touched], dim=-1) * heading.conj()
            felt = torch.view_as_real(felt).flatten(1)
            motion = network(torch.cat([felt, self.waves(felt[:, :4])], dim=-1)).to(latent)
            forward, left, turn = motion.split(1, dim=-1)
            block = block + heading * torch.complex(forward, left)
            heading = heading * torch.complex(turn.cos(), turn.sin())
            blocks.append(torch.cat([block, heading], dim=-1))
        path = torch.cat([after[..., :1], torch.stack(blocks, dim=1), after[..., 1:]], dim=-1)
        return torch.view_as_real(path).flatten(-2)

    @torch.no_grad()
    def fit(self, states: Float[Tensor, "n 2 7"], actions: Float[Tensor, "n 2"]) -> None:
        """Fit A, B and c.

        Args:
            states: states before and after each step, in the environment's units.
            actions: the normalised action of each step.
        """
        latent = self.encode(states.double())
        before, after = torch.cat([latent[..., :2], latent[..., 6:]], dim=-1).unbind(1)
        inputs = torch.cat([before, actions.double(), torch.ones_like(before[:, :1])], dim=-1)
        self.pusher.copy_(least_squares(inputs, after))


def switched(outputs: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """Return the motion sigmoid(g) * m for the outputs (m, g) of a network."""
    motion, switch = outputs.split((3, 1), dim=-1)
    return motion * switch.sigmoid()


def as_complex(pairs: Float[Tensor, "*batch 2"]) -> Tensor:
    """Convert pairs (x, y) to complex numbers x + i y."""
    return torch.complex(pairs[..., 0], pairs[..., 1])
