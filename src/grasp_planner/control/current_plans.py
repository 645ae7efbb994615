"""The plans that an agent is following, one an environment, and how far it is in each."""

from __future__ import annotations

from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grasp_planner.core.plans import WarmStart


class Source(IntEnum):
    """Where the actions of an environment came from."""

    PLANNED = 0
    """A plan that was made in this call."""
    CONTINUED = 1
    """The plan in hand, on schedule."""
    FALLBACK = 2
    """What is left of the last good plan: a new one was due and could not be made."""
    IDLE = 3
    """Nothing was done, since there is no plan: none could be made yet, or the last good one is at its end."""


class InHand:
    """b plans of one horizon, each with a place in it; at its end a plan is none.

    Attributes:
        taken: (b,) model steps taken of each.
        reusable: (b,) whether the rest of each may start the next plan.
    """

    def __init__(self, count: int, horizon: int, low: Float[Tensor, " a"]) -> None:
        self.horizon = horizon
        self.actions = low.new_zeros(count, horizon, len(low))
        self.states: Tensor | None = None
        self.taken = torch.full((count,), horizon)
        self.reusable = torch.zeros(count, dtype=torch.bool)

    @property
    def alive(self) -> Bool[Tensor, " b"]:
        """Which environments have something left to do."""
        return self.taken < self.horizon

    def take(self, places: Int[Tensor, " k"], actions: Float[Tensor, "k t a"], states: Float[Tensor, "k t s"]) -> None:
        """New plans for some environments."""
        if self.states is None:
            self.states = states.new_zeros(len(self.taken), *states.shape[1:])
        self.actions[places], self.states[places] = actions, states
        self.taken[places.cpu()] = 0
        self.reusable[places.cpu()] = True

    def drop(self, rows: Bool[Tensor, " b"]) -> None:
        """These plans lead somewhere else now."""
        self.taken[rows] = self.horizon
        self.reusable &= ~rows

    def next(self, idle: Float[Tensor, " a"]) -> tuple[Float[Tensor, "b a"], Float[Tensor, "b s"] | None]:
        """The next block of each, and the state that it is to lead to; nothing where there is no plan."""
        row, place = torch.arange(len(self.taken)), self.taken.clamp(max=self.horizon - 1)
        block = torch.where(self.alive.to(idle.device)[:, None], self.actions[row, place], idle)
        expected = None if self.states is None else self.states[row, place]
        self.taken = (self.taken + 1).clamp(max=self.horizon)
        return block, expected

    def rest(self, places: Int[Tensor, " k"]) -> WarmStart | None:
        """What is left of some plans, the last action repeated; zeros where none may be used again."""
        usable = (self.reusable & self.alive)[places.cpu()]
        if not usable.any():
            return None
        step = (self.taken[places.cpu(), None] + torch.arange(self.horizon)).clamp(max=self.horizon - 1)
        rest = self.actions[places].gather(1, step.to(places.device)[:, :, None].expand(-1, -1, self.actions.shape[2]))
        return WarmStart(torch.where(usable.to(rest.device)[:, None, None], rest, torch.zeros_like(rest)))
