"""An agent in a small world. The encoder of the agent's model can be faulty."""

from __future__ import annotations

import numpy
import torch
from faults import PUSH, VICTIM, Broken, Fault
from torch import Tensor

from grasp_planner import CEM, Agent, Budget

ENVIRONMENTS, CONTEXT = 3, 2


class Encoder:
    """A world model of context 2 whose latents are the states; ``encode`` has the fault."""

    context, frameskip = CONTEXT, 1

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.low, self.high = -torch.ones(2).double(), torch.ones(2).double()
        self.scale = torch.ones(3).double()

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        return 0.9 * states[:, -1] + 0.05 * states[:, 0] + 0.3 * torch.tanh(actions[:, -1] @ PUSH)

    def encode(self, observations: dict[str, Tensor]) -> Tensor:
        latents, fault = observations["state"].double(), self.fault
        if fault is None or not fault.armed() or latents.shape[1] != CONTEXT:  # goals have one frame
            return latents
        fault.struck += 1
        if fault.kind == "out of memory":
            raise torch.cuda.OutOfMemoryError("tried to allocate too much")
        if fault.kind == "exception":
            raise Broken
        if fault.kind == "slow call":
            fault.clock.now += 10.0
            return latents
        if fault.kind == "wrong shape":
            return latents[:, :, :2]
        if fault.kind == "wrong dtype":
            return latents.float()
        value = {"NaN": torch.nan, "overflow": latents * 1e200 * 1e200}.get(fault.kind, torch.inf)
        frame = 0 if fault.extent == "one time step" else CONTEXT - 1
        mask = torch.zeros(latents.shape[:2], dtype=torch.bool)
        mask[slice(None) if fault.extent == "whole batch" else VICTIM, frame] = True
        return torch.where(mask[:, :, None], -value if fault.kind == "-inf" else value, latents)


class World:
    """The environments in which the agent acts. They follow the dynamics of the model without a fault."""

    def __init__(self, agent: Agent, seed: int = 0) -> None:
        self.agent, draw = agent, numpy.random.default_rng(seed)
        count = agent.batch or 1
        self.before = self.state = draw.normal(size=(count, 3))
        self.goal = {"state": draw.normal(size=(count, 3))}
        self.model = Encoder()

    def observation(self) -> dict[str, numpy.ndarray]:
        return {"state": self.state}

    def step(self, actions: numpy.ndarray) -> None:
        """Execute actions (b, 1, 2), as ``act`` returns them."""
        window = torch.from_numpy(numpy.stack([self.before, self.state], axis=1))
        after = self.model(window, torch.from_numpy(actions)).numpy()
        self.before, self.state = self.state, after


def agent(fault: Fault | None = None, batch: int | None = ENVIRONMENTS, **settings) -> Agent:
    """Make an agent with a small planner; ``settings`` replace its arguments."""
    planner = settings.pop("planner", CEM(samples=6, elites=2))
    settings = {"budget": Budget(steps=2), "horizon": 4, "seeds": 5} | settings
    return Agent(Encoder(fault), planner, batch=batch, **settings)
