"""Records of timed plans. What depends on the machine, which is almost everything, is in their clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from grasp_planner.bench.work import Work


@dataclass(frozen=True)
class Moment:
    """The best plan at one moment of planning.

    Args:
        seconds: wall-clock seconds of planning so far.
        transitions: model transitions per episode so far.
        step: planner steps so far.
        cost: cost of the plan; ``None`` if not finite.
        success: whether the plan, executed in the simulator, ends at the goal.
    """

    seconds: float
    transitions: int
    step: int
    cost: float | None
    success: bool


@dataclass(frozen=True)
class TimedClock:
    """The machine-dependent part of a timed record. With a limit on seconds, success depends on the machine, too.

    Args:
        seconds: wall-clock seconds of planning.
        batch: number of episodes that were planned together.
        machine: type of the processor.
        at: time of the measurement, in seconds since 1970.
        seconds_to_success: seconds until the first plan that succeeds; ``None`` if no plan succeeds.
        moments: the best plans during planning; open loop only.
        success: see ``EpisodeRecord``.
        reached: see ``EpisodeRecord``.
        others: see ``machine_load.Load.others``.
    """

    seconds: float
    batch: int
    machine: str
    at: int
    seconds_to_success: float | None
    moments: tuple[Moment, ...]
    success: bool
    reached: bool
    others: float | None = None


@dataclass(frozen=True)
class TimedRecord:
    """The planning time of an episode that was planned alone, or with few others.

    Args:
        episode: number of the episode.
        seconds_limit: budget of a plan in seconds; 0: the budget was in transitions.
        versions: versions of the packages.
    """

    kind: ClassVar[Literal["timed"]] = "timed"

    work: Work
    episode: int
    seconds_limit: float
    versions: dict[str, str]
    clock: TimedClock

    @property
    def won(self) -> bool:
        """Success by the rule of the mode, see ``EpisodeRecord.won``."""
        return self.clock.reached if self.work.mode == "closed-loop" else self.clock.success


@dataclass(frozen=True)
class TrialClock:
    """The machine-dependent part of the record of a trial in a timed tuning.

    Args:
        seconds: wall-clock seconds of planning, over all episodes.
        batch: number of episodes that were planned together.
        machine: type of the processor.
        at: time of the measurement, in seconds since 1970.
        seconds_to_success: seconds until the first plan that succeeds, for each episode; ``None`` if no plan succeeds.
        cost: cost of the last plan of each episode; ``None`` if not finite.
        others: see ``machine_load.Load.others``.
    """

    seconds: float
    batch: int
    machine: str
    at: int
    seconds_to_success: tuple[float | None, ...]
    cost: tuple[float | None, ...]
    others: float | None = None


@dataclass(frozen=True)
class TimedSweepRecord:
    """The results of one setting of a planner on validation episodes, with a budget in seconds.

    Args:
        round: round of the tuning, from 0.
        trial: number of the setting, from 0.
        episodes: numbers of the episodes.
        seconds_limit: budget of a plan in seconds.
    """

    kind: ClassVar[Literal["timed_sweep"]] = "timed_sweep"

    work: Work
    round: int
    trial: int
    episodes: tuple[int, ...]
    seconds_limit: float
    clock: TrialClock
