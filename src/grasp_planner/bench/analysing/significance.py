"""Success shares with confidence intervals, and a paired test of two planners on the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grasp_planner.core.errors import GraspPlannerError, missing_extra


@dataclass(frozen=True)
class Share:
    """A number of successes in a number of trials, with Wilson's confidence interval.

    Unlike p +- z sqrt(p (1-p)/n), the interval lies inside [0, 1], and its width is positive if the share p is 0 or 1.

    Args:
        successes: number of successes, from 0 to ``trials``.
        trials: number of trials, at least 1.
        confidence: confidence level of the interval.

    Raises:
        GraspPlannerError: a number is out of range.

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
        """Successes divided by trials."""
        return self.successes / self.trials

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return float(self._interval.low)

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return float(self._interval.high)

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f}-{100 * self.high:.1f})"

    @cached_property
    def _interval(self) -> Any:
        return _binomial_test(self.successes, self.trials).proportion_ci(self.confidence, method="wilson")


@dataclass(frozen=True)
class Paired:
    """Two planners on the same episodes, compared by McNemar's exact test.

    Among the episodes that exactly one planner solved, both planners are equally likely to be the one if neither is
    better. The test is the two-sided binomial test of this hypothesis.

    Args:
        both: number of episodes that both planners solved.
        first_only: number of episodes that only the first planner solved.
        second_only: number of episodes that only the second planner solved.
        neither: number of episodes that neither planner solved.

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
        """Count two lists of successes, episode by episode.

        Raises:
            GraspPlannerError: the lists are of different lengths, or empty.
        """
        if len(first) != len(second) or not len(first):
            raise GraspPlannerError(
                f"needed two lists of successes on the same episodes, got {len(first)} and {len(second)} successes"
            )
        pairs = [(bool(a), bool(b)) for a, b in zip(first, second, strict=True)]
        counts = [pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))]
        return cls(*counts)

    @property
    def difference(self) -> float:
        """Success share of the first planner minus success share of the second planner."""
        return (self.first_only - self.second_only) / (self.both + self.first_only + self.second_only + self.neither)

    @property
    def p_value(self) -> float:
        """Two-sided p-value."""
        differing = self.first_only + self.second_only
        return float(_binomial_test(self.first_only, differing).pvalue) if differing else 1.0


def _binomial_test(successes: int, trials: int) -> Any:
    try:
        from scipy.stats import binomtest
    except ImportError as error:
        raise missing_extra("scipy", "bench", "a confidence interval") from error
    return binomtest(successes, trials)
