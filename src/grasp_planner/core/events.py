"""Events: predicates on the trajectory of a plan with a signed margin, which is at least 0 where the event holds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError

Signal = Callable[[Tensor, Tensor], Tensor]
"""A function of states s_0 .. s_T (b, t+1, s) and actions a_0 .. a_{T-1} (b, t, a): one number a step, (b, k)."""


class Path(NamedTuple):
    """The states s_0 .. s_T of a trajectory in the model's own units, and its actions a_0 .. a_{T-1}."""

    states: Float[Tensor, "b t_plus_1 s"]
    actions: Float[Tensor, "b t a"]


class Event(ABC):
    """A predicate on a trajectory. Its margin is at least 0 where the event holds, and below 0 elsewhere.

    :class:`Margin` makes an event of every step from a function. ``always`` and ``eventually`` make an event of a whole
    trajectory. ``&``, ``|`` and ``~`` combine events. The margin follows the rules of signal temporal logic:

        margin(e & f)  =  min(margin(e), margin(f))        margin(always e)      =  min over the steps of margin(e)
        margin(e | f)  =  max(margin(e), margin(f))        margin(eventually e)  =  max over the steps of margin(e)
        margin(~e)     =  -margin(e)

    At a margin of exactly 0, an event and its negation both hold.

    A gradient of the exact minimum reaches one step only. With ``smoothing`` tau > 0, a minimum of n numbers is
    replaced by -tau log sum exp(-x / tau), and a maximum by tau log mean exp(x / tau). Both are below the exact value
    by at most tau log n. Negations are moved to the single steps first, so that the error of each extremum has the same
    sign: a smooth margin is never above the exact margin, and an event with a smooth margin >= 0 holds.

    Steps are model steps, and step 0 is the start. After the last step of a plan, the margin of a single step keeps its
    last value. A nested range is therefore cut at the last step: ``eventually(always(e, last=3), last=T - 3)`` needs
    four steps in a row, but ``eventually(always(e, last=3))`` also holds if only the last state satisfies ``e``.

    Raises:
        GraspPlannerError: an event is combined with something else, or with ``and``, ``or`` or ``not``, which would
            silently drop an event.

    Example:
        >>> near = Margin(lambda states, actions: 1.0 - states.abs().amax(-1))  # in the box from -1 to 1
        >>> event = always(near) & eventually(~near, last=2)
        >>> path = torch.tensor([[[0.0], [0.5], [3.0]]])  # s_0, s_1, s_2
        >>> always(near).margin(path, torch.zeros(1, 2, 1)), eventually(~near).margin(path, torch.zeros(1, 2, 1))
        (tensor([-2.]), tensor([2.]))

    Source: signal temporal logic (Maler and Nickovic, 2004) with the robustness of Fainekos and Pappas (2009) and of
    Donze and Maler (2010). Smooth robustness: Pant, Abbas and Mangharam (2017); the mean in place of their sum in the
    maximum makes it a lower bound.
    """

    @abstractmethod
    def signal(self, path: Path, count: int, smoothing: float) -> Float[Tensor, "b count"]:
        """Return the margin of the event at each of the first ``count`` steps."""

    @abstractmethod
    def terms(self, path: Path, smoothing: float) -> Float[Tensor, "b k"]:
        """Return the margins of the terms, which must all be at least 0 so that this event holds.

        The parts of ``&`` and the steps of ``always`` are terms, so that their minimum needs no smoothing.
        """

    @abstractmethod
    def tightened(self, margin: float) -> Event:
        """Return the event that holds where the margin of this event is at least ``margin``."""

    @abstractmethod
    def __invert__(self) -> Event:
        """Return the event that holds where this event does not hold."""

    @property
    @abstractmethod
    def whole(self) -> bool:
        """Whether the event is about whole trajectories, because all its parts are in ``always`` or ``eventually``."""

    def margin(
        self, states: Float[Tensor, "b t_plus_1 s"], actions: Float[Tensor, "b t a"], smoothing: float = 0.0
    ) -> Float[Tensor, " b"]:
        """Return the margin of each trajectory; for an event of single steps, the margin at step 0.

        Args:
            states: ``(b, t+1, s)``, s_0 .. s_T in the model's own units.
            actions: ``(b, t, a)``, a_0 .. a_{T-1} in the model's action units.
            smoothing: tau, in units of the margin. 0: the exact margin.
        """
        return self.signal(Path(states, actions), 1, smoothing)[:, 0]

    def __bool__(self) -> bool:
        """Raise, because ``and``, ``or`` and ``not`` would silently drop an event."""
        raise GraspPlannerError("an event is neither true nor false: combine events with &, | and ~, not and, or, not")

    def __and__(self, other: Event) -> Event:
        """Return the event that holds where both events hold."""
        return Combined((self, _event(other)), every=True)

    def __or__(self, other: Event) -> Event:
        """Return the event that holds where at least one of the events holds."""
        return Combined((self, _event(other)), every=False)


@dataclass(frozen=True, eq=False)
class Margin(Event):
    """An event of every step, from a function of the trajectory that is at least 0 where the event holds.

        margin_t  =  function(states, actions)_t / scale

    Args:
        function: function of the states s_0 .. s_T ``(b, t+1, s)``, in the model's own units, and of the actions
            a_0 .. a_{T-1} ``(b, t, a)``, in the model's action units. It returns one number for each step from step 0
            on, ``(b, k)`` with k from 1 to t+1; further steps have the last number. Each row may depend on its own
            trajectory only. Autograd must be able to differentiate the function, if the planner uses gradients.
        scale: the typical size of the function, > 0. Margins are in units of it.

    Raises:
        GraspPlannerError: ``function`` is not a function, or ``scale`` is not a positive number; or, when it is
            evaluated, the function returns something other than ``(b, k)`` numbers in the dtype of the states.

    Example:
        >>> above = Margin(lambda states, actions: states[..., 1] - 30.0, scale=10.0)
        >>> always(above).margin(torch.tensor([[[0.0, 50.0], [0.0, 40.0]]]), torch.zeros(1, 1, 2))
        tensor([1.])
    """

    function: Signal
    scale: float = 1.0
    required: float = 0.0
    """The margin that the event requires, see :meth:`tightened`."""
    negated: bool = False
    """Whether the margin has the opposite sign, as in ``~event``."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise GraspPlannerError(f"Margin.function must be a function of states and actions, got {self.function!r}")
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float)) or not 0 < self.scale < math.inf:
            raise GraspPlannerError(f"Margin.scale must be a number > 0, got {self.scale!r}")

    def signal(self, path: Path, count: int, smoothing: float) -> Float[Tensor, "b count"]:
        """Return the margins at the first ``count`` steps."""
        values, (batch, steps) = self.function(*path), path.states.shape[:2]
        if not isinstance(values, Tensor):
            raise GraspPlannerError(f"the function of a Margin must return a tensor, got {type(values).__name__}")
        shape = tuple(values.shape)
        if len(shape) != 2 or shape[0] != batch or not 1 <= shape[1] <= steps or values.dtype != path.states.dtype:
            raise GraspPlannerError(
                f"the function of a Margin was given states {tuple(path.states.shape)} {path.states.dtype} and must "
                f"return ({batch}, k) with k from 1 to {steps} of the same dtype, got {shape} {values.dtype}"
            )
        held = values[:, -1:].expand(-1, max(0, count - shape[1]))
        margins = torch.cat([values[:, :count], held], dim=1) / self.scale
        return (-margins if self.negated else margins) - self.required

    def terms(self, path: Path, smoothing: float) -> Float[Tensor, "b k"]:
        """Return the margin at step 0."""
        return self.signal(path, 1, smoothing)

    def tightened(self, margin: float) -> Margin:
        """Return the event that holds where this margin is at least ``margin``."""
        return replace(self, required=self.required + margin)

    def __invert__(self) -> Margin:
        """Return the event with the negative margin."""
        return replace(self, negated=not self.negated, required=-self.required)

    @property
    def whole(self) -> bool:
        """False: the event is about one step."""
        return False


@dataclass(frozen=True, eq=False)
class Combined(Event):
    """The event that every part holds (``&``), or that some part holds (``|``)."""

    parts: tuple[Event, ...]
    every: bool

    def signal(self, path: Path, count: int, smoothing: float) -> Float[Tensor, "b count"]:
        """Return the smallest or the largest margin of the parts at each step."""
        margins = torch.stack([part.signal(path, count, smoothing) for part in self.parts], dim=-1)
        return extremum(margins, smoothing, self.every)

    def terms(self, path: Path, smoothing: float) -> Float[Tensor, "b k"]:
        """Return the terms of all parts, if every part must hold."""
        if not self.every:
            return self.signal(path, 1, smoothing)
        return torch.cat([part.terms(path, smoothing) for part in self.parts], dim=1)

    def tightened(self, margin: float) -> Combined:
        """Return the event of the tightened parts."""
        return replace(self, parts=tuple(part.tightened(margin) for part in self.parts))

    def __invert__(self) -> Combined:
        """Return the event that some part does not hold, or that no part holds."""
        return Combined(tuple(~part for part in self.parts), not self.every)

    @property
    def whole(self) -> bool:
        """Whether all parts are about whole trajectories."""
        return all(part.whole for part in self.parts)


@dataclass(frozen=True, eq=False)
class Within(Event):
    """The event that a part holds at every step (``always``) or at some step (``eventually``) of a range."""

    part: Event
    first: int
    last: int | None
    every: bool

    def signal(self, path: Path, count: int, smoothing: float) -> Float[Tensor, "b count"]:
        """Return the smallest or the largest margin of the part in the range that begins at each step."""
        later = torch.arange(count, device=path.states.device)[:, None] + self.steps(path)
        steps = path.states.shape[1]
        margins = self.part.signal(path, steps, smoothing)[:, later.clamp(max=steps - 1)]
        return extremum(margins, smoothing, self.every)

    def terms(self, path: Path, smoothing: float) -> Float[Tensor, "b k"]:
        """Return the terms of all steps, if the part must hold at every step."""
        if not self.every:
            return self.signal(path, 1, smoothing)
        if isinstance(self.part, Combined) and self.part.every:  # always (e & f) is always e & always f
            each = [replace(self, part=part).terms(path, smoothing) for part in self.part.parts]
            return torch.cat(each, dim=1)
        return self.part.signal(path, path.states.shape[1], smoothing)[:, self.steps(path)]

    def steps(self, path: Path) -> Int[Tensor, " k"]:
        """Return the steps of the range that begins at step 0. Steps after the last step are the last step."""
        end = path.states.shape[1] - 1
        last = end if self.last is None else min(self.last, end)
        return torch.arange(min(self.first, end), last + 1, device=path.states.device)

    def tightened(self, margin: float) -> Within:
        """Return the event of the tightened part."""
        return replace(self, part=self.part.tightened(margin))

    def __invert__(self) -> Within:
        """Return the event that the part fails at some step, or that it fails at every step."""
        return Within(~self.part, self.first, self.last, not self.every)

    @property
    def whole(self) -> bool:
        """True: the event is about a whole trajectory."""
        return True


def extremum(margins: Float[Tensor, "*batch n"], smoothing: float, smallest: bool) -> Float[Tensor, "*batch"]:
    """Return the smallest or the largest of n margins, exactly, or with smoothing tau from below by at most tau log n.

    >>> extremum(torch.tensor([1.0, 3.0]), 0.0, smallest=True), extremum(torch.tensor([2.0, 2.0]), 0.5, smallest=False)
    (tensor(1.), tensor(2.))
    """
    if smoothing == 0.0:
        return margins.amin(-1) if smallest else margins.amax(-1)
    if smallest:
        return -smoothing * torch.logsumexp(-margins / smoothing, dim=-1)
    return smoothing * (torch.logsumexp(margins / smoothing, dim=-1) - math.log(margins.shape[-1]))


def always(event: Event, first: int = 0, last: int | None = None) -> Event:
    """Return the event that holds if ``event`` holds at every step from ``first`` to ``last``.

    Args:
        event: an event of single steps, or of trajectories that begin at a step.
        first: first model step of the range; step 0 is the start.
        last: last model step of the range, included. ``None``: the last step of the plan.

    Raises:
        GraspPlannerError: ``event`` is not an event, or the range is empty.

    Example:
        >>> low = Margin(lambda states, actions: 1.0 - states[..., 0])
        >>> always(low, first=1).margin(torch.tensor([[[5.0], [0.5]]]), torch.zeros(1, 1, 1))
        tensor([0.5000])
    """
    return Within(_event(event), *_range(first, last), every=True)


def eventually(event: Event, first: int = 0, last: int | None = None) -> Event:
    """Return the event that holds if ``event`` holds at some step from ``first`` to ``last``.

    Args:
        event: an event of single steps, or of trajectories that begin at a step.
        first: first model step of the range; step 0 is the start.
        last: last model step of the range, included. ``None``: the last step of the plan.

    Raises:
        GraspPlannerError: ``event`` is not an event, or the range is empty.

    Example:
        >>> high = Margin(lambda states, actions: states[..., 0] - 1.0)
        >>> stays = eventually(always(high, last=1), last=2)  # two steps in a row
        >>> stays.margin(torch.tensor([[[0.0], [3.0], [2.0], [0.0]]]), torch.zeros(1, 3, 1))
        tensor([1.])
    """
    return Within(_event(event), *_range(first, last), every=False)


def of_trajectories(value: object, name: str) -> Event:
    """Return an event of whole trajectories unchanged.

    Raises:
        GraspPlannerError: ``value`` is not an event, or is an event of single steps.
    """
    if not isinstance(value, Event) or not value.whole:
        raise GraspPlannerError(
            f"{name} must say at which steps it holds: always(event) or eventually(event), got {value!r}"
        )
    return value


def _event(value: object) -> Event:
    if not isinstance(value, Event):
        raise GraspPlannerError(f"an event is made by Margin(function), got {type(value).__name__}")
    return value


def _range(first: int, last: int | None) -> tuple[int, int | None]:
    for name, value in (("first", first), *(() if last is None else (("last", last),))):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise GraspPlannerError(f"{name} must be a model step, a whole number >= 0, got {value!r}")
    if last is not None and last < first:
        raise GraspPlannerError(f"the range of steps is empty: needed first <= last, got {first} and {last}")
    return first, last
