"""Shares and their confidence intervals, and two planners on the same episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from grasp_planner.core.errors import GraspPlannerError


@dataclass(frozen=True)
class Share:
    """So many successes in so many trials, with Wilson's interval.

    With p = successes/trials, n trials and z the normal quantile of the confidence, the ends of the interval are

        (p + z^2/2n +- z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Unlike p +- z sqrt(p (1-p)/n) it is inside [0, 1] and has a width when p is 0 or 1.

    Args:
        successes: how many, from 0 to `trials`.
        trials: how many, at least 1.
        confidence: of the interval.

    Raises:
        GraspPlannerError: the numbers do not fit each other.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    >>> share = Share(8, 10)
    >>> share.value, round(share.low, 3), round(share.high, 3)
    (0.8, 0.49, 0.943)
    >>> str(share)
    '80.0 % (49.0-94.3)'
    """

    successes: int
    trials: int
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials or self.trials < 1 or not 0 < self.confidence < 1:
            raise GraspPlannerError(
                "a share needs 0 <= successes <= trials, trials >= 1 and 0 < confidence < 1, "
                f"got {self.successes}, {self.trials} and {self.confidence}"
            )

    @property
    def value(self) -> float:
        """Successes over trials."""
        return self.successes / self.trials

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return max(self._middle - self._half_width, 0.0)

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return min(self._middle + self._half_width, 1.0)

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f}-{100 * self.high:.1f})"

    @property
    def _z2(self) -> float:
        return NormalDist().inv_cdf(0.5 + self.confidence / 2) ** 2 / self.trials

    @property
    def _middle(self) -> float:
        return (self.value + self._z2 / 2) / (1 + self._z2)

    @property
    def _half_width(self) -> float:
        spread = self.value * (1 - self.value) / self.trials + self._z2 / (4 * self.trials)
        return math.sqrt(self._z2 * self.trials * spread) / (1 + self._z2)


@dataclass(frozen=True)
class Paired:
    """Two planners on the same episodes: McNemar's exact test.

    Of the episodes that exactly one of them solved, each is as likely to be solved by either if neither is better:
    with n = first_only + second_only and m the smaller of the two, p = min(1, 2 sum_{k<=m} C(n, k) / 2^n).

    Args:
        both: episodes that both solved.
        first_only: those that only the first solved.
        second_only: those that only the second solved.
        neither: those that neither solved.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947); the exact form of the test.

    >>> pair = Paired.of([True, True, True, False], [True, False, False, False])
    >>> pair.first_only, pair.second_only, pair.p_value
    (2, 0, 0.5)
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> Paired:
        """The four counts of two lists of successes, episode by episode.

        Raises:
            GraspPlannerError: the lists are of different lengths, or empty.
        """
        if len(first) != len(second) or not len(first):
            raise GraspPlannerError(f"pairs need as many of the one as of the other: {len(first)}, {len(second)}")
        pairs = [(bool(a), bool(b)) for a, b in zip(first, second, strict=True)]
        counts = [pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))]
        return cls(*counts)

    @property
    def difference(self) -> float:
        """Success of the first less that of the second."""
        return (self.first_only - self.second_only) / (self.both + self.first_only + self.second_only + self.neither)

    @property
    def p_value(self) -> float:
        """Two-sided."""
        n, m = self.first_only + self.second_only, min(self.first_only, self.second_only)
        return min(1.0, 2 * sum(math.comb(n, k) for k in range(m + 1)) / 2**n)
