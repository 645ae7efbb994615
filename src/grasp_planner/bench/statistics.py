"""Shares and their confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from grasp_planner.errors import GraspPlannerError


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
