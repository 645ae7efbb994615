"""Dynamics of any state vector: standardised coordinates, a linear part, and a network for the remainder."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.models.mlp import MLP, Network, NewNetwork, Waves

SMALL = 1e-6


class PlainDynamics(nn.Module):
    """Dynamics whose latent is the standardised state. A step adds a linear part and a network's correction.

        z = (state - mean) / std,    z' = z + L [z, u, 1] + change * MLP([z, u, waves(z)])

    L is fitted to the training data in closed form, so that linear dynamics are exact before training. ``change`` is
    the standard deviation of the residual of L for each coordinate.

    Args:
        state_size: numbers in the environment's state.
        action_size: numbers in the (normalised) action of one step.
        width: units in a hidden layer.
        depth: hidden layers.
        octaves: number of wavelengths of sines and cosines of the latent, see ``mlp.Waves``.
        network: class of the network: ``MLP``, ``Mixture`` with a number of experts, or ``Denoiser`` for a diffusion
            model of the correction.
    """

    mean: Tensor
    std: Tensor
    linear: Tensor
    change: Tensor

    def __init__(
        self, state_size: int, action_size: int, width: int, depth: int, octaves: int, network: NewNetwork = MLP
    ) -> None:
        super().__init__()
        self.latent_size = state_size
        self.scale = (1.0,) * state_size
        self.goal_weights = (1.0,) * state_size
        self.waves = Waves(state_size, octaves)
        self.network = network(state_size + action_size + self.waves.outputs, state_size, width, depth)
        self.register_buffer("mean", torch.zeros(state_size))
        self.register_buffer("std", torch.ones(state_size))
        self.register_buffer("linear", torch.zeros(state_size + action_size + 1, state_size))
        self.register_buffer("change", torch.ones(state_size))

    def encode(self, state: Float[Tensor, "*batch state"]) -> Float[Tensor, "*batch s"]:
        """Return standardised coordinates."""
        return (state - self.mean) / self.std

    def decode(self, latent: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch state"]:
        """Return the inverse of ``encode``."""
        return latent * self.std + self.mean

    def path(
        self, latent: Float[Tensor, "n s"], actions: Float[Tensor, "n t a"], network: Network | None = None
    ) -> Float[Tensor, "n t s"]:
        """Return the latents after each action; ``network`` takes the place of the model's own."""
        network = self.network if network is None else network
        passed = []
        for action in actions.unbind(1):
            inputs, linear = self._seen(latent, action)
            latent = linear + self.change * network(inputs)
            passed.append(latent)
        return torch.stack(passed, dim=1)

    def example(
        self, before: Float[Tensor, "n s"], action: Float[Tensor, "n a"], after: Float[Tensor, "n s"]
    ) -> tuple[Float[Tensor, "n i"], Float[Tensor, "n s"]]:
        """Return the inputs of the network, and the outputs that lead from one latent to the next."""
        inputs, linear = self._seen(before, action)
        return inputs, (after - linear) / self.change

    def _seen(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of the network, and the prediction of the linear part."""
        both = torch.cat([latent, action], dim=-1)
        inputs = torch.cat([both, self.waves(latent)], dim=-1)
        return inputs, latent + both @ self.linear[:-1] + self.linear[-1]

    @torch.no_grad()
    def fit(self, states: Float[Tensor, "n 2 state"], actions: Float[Tensor, "n a"]) -> None:
        """Set mean, standard deviation and linear part from steps of the training data.

        Args:
            states: states before and after each step, in the environment's units.
            actions: the normalised action of each step.
        """
        ends = states.double()
        self.mean.copy_(ends.flatten(0, 1).mean(0))
        self.std.copy_(ends.flatten(0, 1).std(0).clamp(min=SMALL))
        before, after = self.encode(ends).unbind(1)
        inputs = torch.cat([before, actions.double(), torch.ones_like(before[:, :1])], dim=-1)
        solution = least_squares(inputs, after - before)
        self.linear.copy_(solution)
        self.change.copy_((after - before - inputs @ solution).std(0).clamp(min=SMALL))


def least_squares(inputs: Float[Tensor, "n i"], outputs: Float[Tensor, "n o"]) -> Float[Tensor, "i o"]:
    """Return the matrix M that minimises |inputs M - outputs|, of least norm if the inputs are dependent."""
    return torch.linalg.pinv(inputs.mT @ inputs, hermitian=True, rtol=1e-12) @ (inputs.mT @ outputs)
