"""Random streams, one per problem, so that the plan of a problem does not depend on the other problems of its batch.

A stream is a counter-based generator: element ``i`` of a draw is a fixed function of ``(seed, i)``. A stream stores
nothing and neither reads nor moves any global random state. A draw for all problems costs the same few tensor
operations for any number of problems.

``fold(number)`` derives a new stream, for example for step ``number``. Draw from a stream only once, or fold it: a
second draw from the same stream repeats the numbers of the first draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy
import torch
from jaxtyping import Int
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """Return ``value`` modulo 2^64 as the signed integer that torch's int64 stores."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


_GOLDEN, _MIX_1, _MIX_2 = (
    _signed(constant) for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_FOLD = 0xD1342543DE82EF95
_CANDIDATES = -(1 << 40)  # the fold from which the streams of candidates are derived; no step has this number
# An operation on a small tensor takes about as long as the same operation on 1000 numbers. The streams of this many
# steps are therefore derived together, and up to this many numbers of later steps are drawn together.
_STEPS_TOGETHER, _NUMBERS_TOGETHER = 16, 4096


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right logically: torch shifts arithmetically, so the copied sign bits are masked away."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def _mixed_(bits: Tensor) -> Tensor:
    """Apply the finaliser of SplitMix64 in place; int64 multiplication wraps modulo 2^64, as SplitMix64 requires."""
    bits.bitwise_xor_(_shifted(bits, 30)).mul_(_MIX_1)
    bits.bitwise_xor_(_shifted(bits, 27)).mul_(_MIX_2)
    return bits.bitwise_xor_(_shifted(bits, 31))


@dataclass(frozen=True, eq=False)
class Noise:
    """Random streams for b problems.

    Args:
        seeds: ``(b,)`` int64, the state of each stream. Use :meth:`of` to make streams from seeds of your own.

    Example:
        >>> import torch
        >>> together = Noise.of([7, 8], problems=2).normal((3,), torch.float64)
        >>> alone = Noise.of([8], problems=1).normal((3,), torch.float64)
        >>> torch.equal(together[1], alone[0])
        True

    Source: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), read at
    counter positions. Normal numbers are made by the method of Box and Muller (1958).
    """

    seeds: Int[Tensor, " b"]
    _shared: tuple[_Draws, int] | None = field(default=None, repr=False)
    """The draws of several steps, and the number of the step among them."""

    @classmethod
    def of(
        cls, seeds: int | Sequence[int] | Tensor | Noise | None, problems: int, device: torch.device | str = "cpu"
    ) -> Noise:
        """Make the streams of ``problems`` problems.

        Problems with the same seed have the same noise, at any position in the batch.

        Args:
            seeds: one integer for all problems, or one integer per problem; ``None`` means 0 for all. Streams are
                returned as they are.
            problems: number of problems.
            device: device of the noise.

        Raises:
            GraspPlannerError: the number of seeds is not the number of problems, or a seed is not an integer.
        """
        if isinstance(seeds, Noise):
            if len(seeds.seeds) != problems:
                raise GraspPlannerError(f"seeds: needed streams for {problems} problems, got {len(seeds.seeds)}")
            return cls(seeds.seeds.to(device))
        given = seeds.tolist() if isinstance(seeds, (Tensor, numpy.ndarray)) else seeds
        given = 0 if given is None else given
        listed = list(given) if isinstance(given, Iterable) else [given] * problems
        if not all(isinstance(seed, (int, numpy.integer)) for seed in listed):
            raise GraspPlannerError(f"seeds must be integers, one for all or one a problem, got {seeds!r}")
        chosen = [_signed(int(seed)) for seed in listed]
        if len(chosen) != problems:
            raise GraspPlannerError(
                f"seeds: needed one integer for all problems or {problems} (one a problem), got {len(chosen)}"
            )
        return cls(_mixed_(torch.tensor(chosen, dtype=torch.int64, device=device)))

    def fold(self, number: int | Int[Tensor, " b"]) -> Noise:
        """Derive new streams, independent of these streams and of the streams of other numbers.

        Args:
            number: for example the number of a step; or ``(b,)`` int64, a number for each problem.
        """
        if isinstance(number, Tensor):
            return Noise(_folded(self.seeds, number))
        return Noise(_mixed_((self.seeds ^ _signed((number + 1) * _FOLD)).add_(_GOLDEN)))

    def steps(self, first: int) -> Iterator[Noise]:
        """Derive the streams ``fold(first)``, ``fold(first + 1)`` and so on, without end.

        The streams of several steps are derived together, and so are their normal numbers, because small tensor
        operations are slow. The numbers are those of :meth:`fold`.
        """
        for start in count(first, _STEPS_TOGETHER):
            numbers = torch.arange(start, start + _STEPS_TOGETHER, device=self.seeds.device)
            draws = _Draws(_folded(self.seeds, numbers[:, None]))
            yield from (Noise(seeds, (draws, step)) for step, seeds in enumerate(draws.seeds.unbind()))

    def repeat(self, candidates: int) -> Noise:
        """Derive a stream for each of several candidates per problem, ``(b * candidates,)``.

        Candidate ``j`` of a problem gets the same stream in any batch and among any number of candidates.
        """
        numbers = torch.arange(candidates, device=self.seeds.device).repeat(len(self.seeds))
        return Noise(self.fold(_CANDIDATES).seeds.repeat_interleave(candidates)).fold(numbers)

    def uniform(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Draw uniform numbers ``(b, *shape)`` of a dtype in the open interval (0, 1)."""
        return _uniform(self.seeds, math.prod(shape)).reshape(len(self.seeds), *shape).to(dtype)

    def normal(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Draw standard normal numbers ``(b, *shape)`` of a dtype; other dtypes get the same numbers, rounded."""
        if self._shared is not None:
            draws, step = self._shared
            return draws.normal(step, shape, dtype)
        return _normal(self.seeds, shape, dtype)


def _folded(seeds: Int[Tensor, " b"], numbers: Tensor) -> Tensor:
    """Derive the streams of numbers ``(b,)``, or of numbers ``(k, 1)``: then ``(k, b)`` streams."""
    factor = (numbers.to(seeds) + 1).mul_(_signed(_FOLD))
    return _mixed_((seeds ^ factor).add_(_GOLDEN))


class _Draws:
    """The normal numbers of the streams of several steps, which are drawn before they are asked for.

    Args:
        seeds: ``(k, b)`` the state of each stream of k steps.
    """

    def __init__(self, seeds: Int[Tensor, "k b"]) -> None:
        self.seeds = seeds
        self._drawn: dict[tuple[object, ...], Tensor] = {}

    def normal(self, step: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Draw the numbers ``(b, *shape)`` of a step, and the numbers of later steps if they are few."""
        if (step, dtype, *shape) not in self._drawn:
            together = _NUMBERS_TOGETHER // max(1, self.seeds.shape[1] * math.prod(shape))
            seeds = self.seeds[step : step + max(1, together)]
            drawn = _normal(seeds.flatten(), shape, dtype).reshape(*seeds.shape, *shape)
            self._drawn |= {(later, dtype, *shape): row for later, row in enumerate(drawn.unbind(), start=step)}
        return self._drawn.pop((step, dtype, *shape))  # a caller may write to these numbers, so they are not kept


def _uniform(seeds: Int[Tensor, " b"], count: int) -> Tensor:
    """Draw ``(b, count)`` uniform numbers in float64."""
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=seeds.device)
    bits = _mixed_(seeds[:, None] + counter.mul_(_GOLDEN))
    # Half a unit is added to 52 random bits, so that the number is never 0 or 1 and the logarithm is finite.
    return bits.bitwise_right_shift_(12).bitwise_and_((1 << 52) - 1).double().add_(0.5).mul_(2.0**-52)


def _normal(seeds: Int[Tensor, " b"], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Draw ``(b, *shape)`` standard normal numbers."""
    count = math.prod(shape)
    half = (count + 1) // 2
    uniform = _uniform(seeds, 2 * half)
    radius = uniform[:, :half].log().mul_(-2.0).sqrt_()
    angle = uniform[:, half:].mul_(2.0 * math.pi)
    normal = torch.cat([angle.cos().mul_(radius), angle.sin().mul_(radius)], dim=1)
    return normal[:, :count].reshape(len(seeds), *shape).to(dtype)
