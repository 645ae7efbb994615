"""The history of an agent: observations, planned states and actions of the last model steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.control.frames import Frame
from grasp_planner.core.errors import GraspPlannerError


class Moment(NamedTuple):
    """The record of one model step.

    Attributes:
        frame: the observation; ``None`` if there was no observation.
        planned: (b, s) the state that the plans predicted for this moment; ``None`` before the first plan.
        action: (b, a) the model action that was taken from this moment on; ``None`` until it is known.
    """

    frame: Frame | None
    planned: Tensor | None
    action: Tensor | None = None


@dataclass(frozen=True, eq=False)
class History:
    """The last moments of b environments, newest last.

    The object is immutable: methods that add something return a new object.

    Args:
        context: h, the number of states that the model reads.
        longest: the number of moments that are kept. An observation may be at most ``longest - context`` moments late.
        moments: the moments that are kept.
        first: the first frame, whose keys and shapes later frames must have; ``None`` before the first frame.
    """

    context: int
    longest: int
    moments: tuple[Moment, ...] = ()
    first: Frame | None = None

    def begun(self, planned: Float[Tensor, "b s"] | None) -> History:
        """Add a moment for which the plans had predicted the states ``planned``."""
        return replace(self, moments=(*self.moments, Moment(None, planned))[-self.longest :])

    def observed(self, frame: Frame, late: int) -> History:
        """Add an observation that was made ``late`` moments ago.

        Raises:
            GraspPlannerError: the keys or shapes differ from those of the first frame, or the moment is no longer kept.
        """
        for key, first in (self.first or {}).items():
            if key not in frame:
                raise GraspPlannerError(f"observation lacks {key!r}, which the first one had")
            if frame[key].shape != first.shape:
                raise GraspPlannerError(
                    f"observation[{key!r}] must be {tuple(first.shape)} like the first, got {tuple(frame[key].shape)}"
                )
        most = min(len(self.moments) - 1, self.longest - self.context)
        if isinstance(late, bool) or not isinstance(late, int) or not 0 <= late <= most:
            raise GraspPlannerError(f"late must be a whole number from 0 to {most} model steps, got {late!r}")
        kept = {key: frame[key] for key in self.first or frame}
        return replace(self._with(late, frame=kept), first=self.first or kept)

    def acted(self, action: Float[Tensor, "b a"]) -> History:
        """Add the model action that is taken from the newest moment on."""
        return self._with(0, action=action)

    def actions(self, count: int, late: int, idle: Float[Tensor, "b a"]) -> Float[Tensor, "b count a"]:
        """Return the ``count`` model actions before the moment ``late`` moments ago; ``idle`` before the start."""
        taken = [moment.action for moment in self.moments[: len(self.moments) - 1 - late]]
        known = [action for action in taken[max(0, len(taken) - count) :] if action is not None]
        actions = [idle] * (count - len(known)) + known
        return torch.stack(actions, dim=1) if actions else idle.new_zeros(len(idle), 0, idle.shape[1])

    def states(
        self, encode: Callable[[list[Frame]], Float[Tensor, "b h s"]], late: int
    ) -> tuple[Float[Tensor, "b h s"], Bool[Tensor, "b h"]]:
        """Return the h states up to the moment ``late`` moments ago, and which of them were observed.

        A state that was not observed, or whose encoding is not finite, is replaced by the state that the plan
        predicted. If there was no plan, it is replaced by the next state. States before the first moment equal the
        first state.

        Raises:
            GraspPlannerError: there was no observation yet.
        """
        now = len(self.moments) - 1 - late
        moments = [self.moments[max(0, now - age)] for age in reversed(range(self.context))]
        # For missing frames, another frame is encoded instead, and the result is replaced.
        filler = next((moment.frame for moment in reversed(self.moments) if moment.frame is not None), None)
        if filler is None:
            raise GraspPlannerError("there is no observation yet")
        latents = encode([moment.frame or filler for moment in moments])
        there = torch.tensor([moment.frame is not None for moment in moments], device=latents.device)
        seen = torch.isfinite(latents).all(2) & there
        states = list(latents.unbind(1))
        for place in reversed(range(self.context)):
            planned = moments[place].planned
            if planned is None:
                planned = states[min(place + 1, self.context - 1)]
            states[place] = torch.where(seen[:, place, None], states[place], planned)
        return torch.stack(states, dim=1), seen

    def _with(self, late: int, *, frame: Frame | None = None, action: Tensor | None = None) -> History:
        """Change the moment ``late`` moments ago."""
        place = len(self.moments) - 1 - late
        old = self.moments[place]
        new = Moment(frame or old.frame, old.planned, old.action if action is None else action)
        return replace(self, moments=(*self.moments[:place], new, *self.moments[place + 1 :]))
