"""The active plan of each environment and its current step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grasp_planner.core.plans import WarmStart


class Source(IntEnum):
    """Where the actions of an environment come from.

    Example:
        >>> Source(2).name
        'FALLBACK'
    """

    PLANNED = 0
    """A plan that was made in this call of ``act``."""
    CONTINUED = 1
    """An earlier plan that is not due for replanning yet."""
    FALLBACK = 2
    """The rest of the last valid plan: a new plan was due, but could not be made."""
    IDLE = 3
    """No plan, so the environment does nothing: no plan could be made yet, or the last valid plan is at its end."""


@dataclass(frozen=True, eq=False)
class CurrentPlans:
    """The active plan of each of b environments and its current step.

    The object is immutable: methods that change plans return a new object.

    Attributes:
        actions: (b, t, a) actions of the plans.
        states: (b, t, s) predicted states that the actions lead to; ``None`` before the first plan.
        step: (b,) current model step of each plan; t for environments without an active plan.
        replan_at: (b,) model step from which each plan is due for replanning.
        reusable: (b,) whether the rest of each plan may be the warm start of the next plan.
    """

    actions: Float[Tensor, "b t a"]
    states: Float[Tensor, "b t s"] | None
    step: Int[Tensor, " b"]
    replan_at: Int[Tensor, " b"]
    reusable: Bool[Tensor, " b"]

    @classmethod
    def none(cls, environments: int, horizon: int, low: Float[Tensor, " a"]) -> CurrentPlans:
        """Return an object without active plans, for plans of ``horizon`` model steps with actions like ``low``."""
        return cls(
            actions=low.new_zeros(environments, horizon, len(low)),
            states=None,
            step=torch.full((environments,), horizon),
            replan_at=torch.full((environments,), horizon),
            reusable=torch.zeros(environments, dtype=torch.bool),
        )

    @property
    def horizon(self) -> int:
        """t, the length of a plan in model steps."""
        return self.actions.shape[1]

    @property
    def active(self) -> Bool[Tensor, " b"]:
        """Which environments have a plan that is not at its end."""
        return self.step < self.horizon

    @property
    def due(self) -> Bool[Tensor, " b"]:
        """Which environments are due for replanning."""
        return (self.step >= self.replan_at) | ~self.active

    def replaced(
        self,
        places: Int[Tensor, " k"],
        actions: Float[Tensor, "k t a"],
        states: Float[Tensor, "k t s"],
        replan_at: Int[Tensor, " k"],
    ) -> CurrentPlans:
        """Start new plans in the environments ``places``."""
        before = states.new_zeros(len(self.step), *states.shape[1:]) if self.states is None else self.states
        here = places.cpu()
        return CurrentPlans(
            actions=self.actions.index_copy(0, places, actions),
            states=before.index_copy(0, places, states),
            step=self.step.index_fill(0, here, 0),
            replan_at=self.replan_at.index_copy(0, here, replan_at.cpu()),
            reusable=self.reusable.index_fill(0, here, True),
        )

    def dropped(self, rows: Bool[Tensor, " b"]) -> CurrentPlans:
        """End the plans of some environments."""
        return replace(self, step=self.step.masked_fill(rows, self.horizon), reusable=self.reusable & ~rows)

    def not_reusable(self, rows: Bool[Tensor, " b"]) -> CurrentPlans:
        """Mark the plans of some environments as not reusable for the warm start of the next plan."""
        return replace(self, reusable=self.reusable & ~rows)

    def current(self, idle: Float[Tensor, " a"]) -> tuple[Float[Tensor, "b a"], Float[Tensor, "b s"] | None]:
        """Return each plan's current model action (``idle`` without a plan) and the predicted next state."""
        row, step = torch.arange(len(self.step)), self.step.clamp(max=self.horizon - 1)
        actions = torch.where(self.active.to(idle.device)[:, None], self.actions[row, step], idle)
        return actions, None if self.states is None else self.states[row, step]

    def advanced(self) -> CurrentPlans:
        """Move every plan to its next step."""
        return replace(self, step=(self.step + 1).clamp(max=self.horizon))

    def warm_start(self, places: Int[Tensor, " k"]) -> WarmStart | None:
        """Return the rest of the plans of the environments ``places``, each with its last action repeated.

        The actions are zeros for plans that are not reusable. The result is ``None`` if no plan is reusable.
        """
        here = places.cpu()
        usable = (self.reusable & self.active)[here]
        if not usable.any():
            return None
        step = (self.step[here, None] + torch.arange(self.horizon)).clamp(max=self.horizon - 1)
        rest = self.actions[places].gather(1, step.to(places.device)[:, :, None].expand(-1, -1, self.actions.shape[2]))
        return WarmStart(torch.where(usable.to(rest.device)[:, None, None], rest, torch.zeros_like(rest)))
