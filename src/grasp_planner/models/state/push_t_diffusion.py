"""A diffusion model of Push-T: linear dynamics of the pusher, and a denoiser for the motion of the block."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.models.denoiser import Denoiser
from grasp_planner.models.mlp import Network, Waves
from grasp_planner.models.state.plain import SMALL, least_squares
from grasp_planner.models.state.push_t import FEELERS, NEAR, ROOM, as_complex, push_t_latent, push_t_state


class PushTDiffusion(nn.Module):
    """Dynamics of the latent of ``PushTDynamics``, in which the motion of the block is sampled by a ``Denoiser``.

    One step takes a block of k environment actions. The pusher's position and velocity q are linear in the actions. The
    denoiser samples the motion of the block in the block's frame. With points of the plane as complex numbers as in
    ``PushTDynamics``:

        q' = q A + u B + c
        d, turn = change * y,    y ~ p(y | (p - b) / h, (p' - b) / h, v / h, u_1 / h, .., u_k / h, w_j / h)
        b' = b + h d,    h' = h exp(i turn)

    Args:
        state_size: must be 7: pusher x, y, block x, y, theta, pusher vx, vy.
        action_size: must be even: the normalised actions u of one step.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: number of wavelengths of sines and cosines of the pusher's positions; see ``mlp.Waves``.

    Raises:
        GraspPlannerError: a size is another number.
    """

    feelers: Tensor
    pusher: Tensor
    change: Tensor
    encode = staticmethod(push_t_latent)
    decode = staticmethod(push_t_state)

    def __init__(self, state_size: int, action_size: int, width: int, depth: int, octaves: int) -> None:
        super().__init__()
        if state_size != 7 or action_size % 2:
            raise GraspPlannerError(
                "features 'push_t_diffusion' need state_size 7 and action_size 2, "
                f"got states of {state_size} and steps of {action_size} action coordinates"
            )
        self.latent_size, self.scale, self.goal_weights = 8, (1.0,) * 8, (1.0,) * 6 + (0.0, 0.0)
        angles = 2 * math.pi / FEELERS * torch.arange(FEELERS)
        self.register_buffer("feelers", torch.stack([angles.cos(), angles.sin()], dim=-1), persistent=False)
        self.waves = Waves(4, octaves)
        self.network = Denoiser(2 * (3 + FEELERS) + action_size + self.waves.outputs, 3, width, depth)
        self.register_buffer("pusher", torch.zeros(5 + action_size, 4))  # rows: A (4), B (k actions), c
        self.register_buffer("change", torch.ones(3))

    def path(
        self, latent: Float[Tensor, "n 8"], actions: Float[Tensor, "n t a"], network: Network | None = None
    ) -> Float[Tensor, "n t 8"]:
        """Return the latents after each block of actions; ``network`` takes the place of the model's denoiser."""
        path = [latent]
        for action in actions.unbind(1):
            path.append(self._moved(path[-1], action, self.network if network is None else network))
        return torch.stack(path[1:], dim=1)

    def _moved(self, latent: Tensor, action: Tensor, network: Network) -> Tensor:
        inputs, pusher, block, heading = self._seen(latent, action)
        forward, left, turn = (self.change * network(inputs)).split(1, dim=-1)
        block = torch.view_as_real(block + heading * torch.complex(forward, left)).flatten(1)
        heading = torch.view_as_real(heading * torch.complex(turn.cos(), turn.sin())).flatten(1)
        return torch.cat([pusher[:, :2], block, heading, pusher[:, 2:]], dim=-1)

    def example(
        self, before: Float[Tensor, "n 8"], action: Float[Tensor, "n a"], after: Float[Tensor, "n 8"]
    ) -> tuple[Float[Tensor, "n i"], Float[Tensor, "n 3"]]:
        """Return the inputs of the denoiser, and the outputs that lead from one latent to the next."""
        return self._seen(before, action)[0], _motion(before, after) / self.change

    def _seen(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the inputs of the denoiser, the next q, the block's position, and the block's heading."""
        before, block, heading, speed = as_complex(latent.unflatten(-1, (4, 2))).split(1, dim=-1)
        heading = heading / heading.abs().clamp(min=0.1)  # headings of virtual states are not on the unit circle
        now = torch.cat([latent[:, :2], latent[:, 6:]], dim=-1)
        pusher = torch.addmm(action @ self.pusher[4:-1] + self.pusher[-1], now, self.pusher[:4])
        pusher = pusher.to(latent)  # there are no complex numbers in bfloat16
        points = torch.view_as_real(block + heading * as_complex(self.feelers))
        touched = as_complex(points - points.clamp(NEAR - ROOM, ROOM - NEAR))
        after, pushes = as_complex(pusher[:, None, :2]), as_complex(action.unflatten(-1, (-1, 2)))
        felt = torch.cat([before - block, after - block, speed, pushes, 2 * touched], dim=-1) * heading.conj()
        felt = torch.view_as_real(felt).flatten(1)
        return torch.cat([felt, self.waves(felt[:, :4])], dim=-1), pusher, block, heading

    @torch.no_grad()
    def fit(self, states: Float[Tensor, "n 2 7"], actions: Float[Tensor, "n a"]) -> None:
        """Fit A, B and c, and set the unit of the block's motion to its standard deviation.

        Args:
            states: states before and after each step, in the environment's units.
            actions: the normalised actions of each step.
        """
        before, after = self.encode(states.double()).unbind(1)
        now, then = (torch.cat([latent[:, :2], latent[:, 6:]], dim=-1) for latent in (before, after))
        inputs = torch.cat([now, actions.double(), torch.ones_like(now[:, :1])], dim=-1)
        self.pusher.copy_(least_squares(inputs, then))
        self.change.copy_(_motion(before, after).std(0).clamp(min=SMALL))


def _motion(before: Float[Tensor, "n 8"], after: Float[Tensor, "n 8"]) -> Float[Tensor, "n 3"]:
    """Return the motion of the block in its own frame: forward, left, and the turn."""
    (_, block, heading, _), (_, moved, turned, _) = (
        as_complex(latent.unflatten(-1, (4, 2))).unbind(-1) for latent in (before, after)
    )
    way, turn = (moved - block) * heading.conj(), (turned * heading.conj()).angle()
    return torch.stack([way.real, way.imag, turn], dim=-1)
