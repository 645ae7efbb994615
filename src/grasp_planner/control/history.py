"""What an agent remembers: what was seen, what was done, and what was expected where nothing was seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError

Frame = dict[str, Tensor]


@dataclass
class _Moment:
    """One model step: what was seen then (``None``: nothing), the state the plan had foreseen, the block done next."""

    frame: Frame | None
    expected: Tensor | None
    block: Tensor | None = None


class History:
    """The last moments of b environments, newest last.

    Args:
        context: h, how many states a model reads.
        longest: how many moments to keep; an observation may be late by ``longest - context`` at most.
    """

    def __init__(self, context: int, longest: int) -> None:
        self.context, self.longest = context, longest
        self._moments: deque[_Moment] = deque(maxlen=longest)
        self._like: Frame | None = None

    def begin(self, expected: Tensor | None) -> None:
        """A new moment, in which the plan had foreseen this state."""
        self._moments.append(_Moment(None, expected))

    def undo(self) -> None:
        """The newest moment has not been."""
        self._moments.pop()

    def see(self, frame: Frame, late: int) -> None:
        """What was seen ``late`` moments ago.

        Raises:
            GraspPlannerError: other keys or shapes than before, or longer ago than is remembered.
        """
        for key, first in (self._like or {}).items():
            if key not in frame:
                raise GraspPlannerError(f"observation lacks {key!r}, which the first one had")
            if frame[key].shape != first.shape:
                raise GraspPlannerError(
                    f"observation[{key!r}] must be {tuple(first.shape)} like the first, got {tuple(frame[key].shape)}"
                )
        most = min(len(self._moments) - 1, self.longest - self.context)
        if isinstance(late, bool) or not isinstance(late, int) or not 0 <= late <= most:
            raise GraspPlannerError(f"late must be a whole number from 0 to {most} model steps, got {late!r}")
        self._like = {key: frame[key] for key in self._like or frame}
        self._moments[-1 - late].frame = self._like

    def end(self, block: Float[Tensor, "b a"]) -> None:
        """What is done from the newest moment on."""
        self._moments[-1].block = block

    def blocks(self, count: int, late: int, idle: Float[Tensor, "b a"]) -> Float[Tensor, "b count a"]:
        """The last ``count`` blocks done before the moment ``late`` moments ago; before the first one nothing was."""
        done = [moment.block for moment in islice(self._moments, 0, len(self._moments) - 1 - late)]
        known = [block for block in done[max(0, len(done) - count) :] if block is not None]
        blocks = [idle] * (count - len(known)) + known
        return torch.stack(blocks, dim=1) if blocks else idle.new_zeros(len(idle), 0, idle.shape[1])

    def states(
        self, encode: Callable[[list[Frame]], Float[Tensor, "b h s"]], late: int
    ) -> tuple[Float[Tensor, "b h s"], Bool[Tensor, "b h"]]:
        """The h states up to the moment ``late`` moments ago, and which of them were seen.

        A state that was not seen, or encodes to something that is not finite, is the one that the plan had foreseen;
        where none was, the one after it. Before the first moment the environment stood still.

        Raises:
            GraspPlannerError: nothing was ever seen.
        """
        now = len(self._moments) - 1 - late
        moments = [self._moments[max(0, now - age)] for age in reversed(range(self.context))]
        fallback = next((moment.frame for moment in reversed(self._moments) if moment.frame is not None), None)
        if fallback is None:
            raise GraspPlannerError("there is no observation yet")
        latents = encode([moment.frame or fallback for moment in moments])
        there = torch.tensor([moment.frame is not None for moment in moments], device=latents.device)
        seen = torch.isfinite(latents).all(2) & there
        states = list(latents.unbind(1))
        for place in reversed(range(self.context)):
            expected = moments[place].expected
            if expected is None:
                expected = states[min(place + 1, self.context - 1)]
            states[place] = torch.where(seen[:, place, None], states[place], expected)
        return torch.stack(states, dim=1), seen
