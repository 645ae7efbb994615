"""Places in Push-T where the pusher begins to touch the block, and derivatives of the simulator there.

A probe is a start at rest and one model step of actions that push straight at a side of the block. Its *depth* is the
distance that the pusher would enter the block if the block did not give way: below 0, the pusher does not reach it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_planner.domains.push_t.geometry import Pose, inside_window, sides
from grasp_planner.domains.push_t.physics import ACTION_SCALE, PUSHER_RADIUS, Simulation
from grasp_planner.models.state.push_t import LENGTH

DEPTHS = (-20.0, -10.0, -5.0, -2.0, 2.0, 5.0, 10.0, 20.0)  # px
STEPS = 5  # environment steps in a model step
PUSH = 0.2  # length of every action, in units of 100 px
DIFFERENCE = 0.01  # finite difference of a coordinate of an action, in units of 100 px
FURTHER = 20.0  # px that the block should move along the push


@dataclass(frozen=True)
class Probes:
    """Starts and actions.

    Attributes:
        starts: (n, 7) states.
        actions: (n, STEPS, 2) environment actions.
        goals: (n, 4) poses of the block, see ``pose_of``.
        depth: (n,) index of the depth in ``DEPTHS``.
    """

    starts: Tensor
    actions: Tensor
    goals: Tensor
    depth: Tensor


@dataclass(frozen=True)
class Responses:
    """What the actions of probes do to the block.

    Attributes:
        ends: (n, 4) poses of the block after the model step.
        jacobian: (n, 4, 2 * STEPS) derivatives of the pose by the pusher's targets, in px per px.
    """

    ends: Tensor
    jacobian: Tensor

    def gradient(self, goals: Tensor) -> Tensor:
        """Return the gradient (n, 2 * STEPS) of the squared distance of the pose from a goal."""
        return 2 * torch.einsum("np,npa->na", self.ends - goals, self.jacobian)


def pose_of(states: Tensor) -> Tensor:
    """Return block x, y and the direction of the block (..., 4) in px, in which 20 degrees are as far as 20 px."""
    angle = states[..., 4:5]
    return torch.cat([states[..., 2:4], LENGTH * angle.cos(), LENGTH * angle.sin()], dim=-1)


def simulated(start: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the state (7,) after the actions (t, 2)."""
    simulation = Simulation(start)
    for x, y in actions.tolist():
        simulation.step(x, y)
    return simulation.state()


def reach() -> float:
    """Return how far in px the pusher moves in a model step. The block does not stop it."""
    start = np.array([60.0, 60.0, 400.0, 380.0, 0.0, 0.0, 0.0])
    return float(simulated(start, np.tile([PUSH, 0.0], (STEPS, 1)))[0] - start[0])


def probes(count: int, seed: int) -> Probes:
    """Draw places on the sides of the block, in random poses of the block; each has one probe for each depth."""
    rng, way = np.random.default_rng(seed), reach()
    gaps = way - np.array(DEPTHS)
    assert gaps.min() > 1.0, "the pusher must not touch the block at the start"
    approach = np.linspace(1.0, gaps.max(), 60)
    begins, ends, inwards = sides()
    starts, directions = [], []
    while len(starts) < count:
        block = Pose(rng.uniform(200, 310, 2), rng.uniform(0, 2 * np.pi))
        side = rng.integers(len(begins))
        contact = block.world(begins[side] + rng.uniform(0.1, 0.9) * (ends[side] - begins[side]))
        direction = block.turned(inwards[side])
        places = contact - (PUSHER_RADIUS + gaps)[:, None] * direction
        path = contact - (PUSHER_RADIUS + approach)[:, None] * direction
        # The pusher must meet this side first, and no other part of the block.
        if (block.distance(path) > PUSHER_RADIUS).all() and inside_window(places).all():
            rest = np.tile([*block.origin, block.angle, 0.0, 0.0], (len(DEPTHS), 1))
            starts.append(np.concatenate([places, rest], axis=1))
            directions.append(direction)
    states = torch.from_numpy(np.concatenate(starts)).float()
    along = torch.from_numpy(np.repeat(directions, len(DEPTHS), axis=0))
    goals = pose_of(states.double())
    goals[:, :2] += FURTHER * along
    actions = (PUSH * along)[:, None].expand(-1, STEPS, -1).contiguous()
    return Probes(states, actions, goals, torch.arange(len(DEPTHS)).repeat(count))


def responses_of(where: Probes) -> Responses:
    """Return what the actions do in the simulator, with central finite differences as derivatives."""
    ends, jacobian = [], []
    for start, actions in zip(where.starts.double().numpy(), where.actions.numpy(), strict=True):
        ends.append(simulated(start, actions))
        columns = []
        for i in range(actions.size):
            change = np.zeros(actions.size)
            change[i] = DIFFERENCE
            sides_of = [simulated(start, actions + sign * change.reshape(actions.shape)) for sign in (1, -1)]
            more, less = pose_of(torch.from_numpy(np.stack(sides_of)))
            columns.append((more - less) / (2 * DIFFERENCE * ACTION_SCALE))
        jacobian.append(torch.stack(columns, dim=-1))
    return Responses(pose_of(torch.from_numpy(np.stack(ends))), torch.stack(jacobian))
